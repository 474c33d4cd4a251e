package mounter

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

var groupNames = map[group]string{basic: "What to mount", fuseGroup: "How it behaves", logging: "Log", advanced: "Further"}

// form is how an argument is written.
func (arg *argument) form() string {
	s := "--" + arg.name
	switch arg.kind {
	case argRequired:
		s += "=" + arg.value
	case argOptional:
		s += "[=" + arg.value + "]"
	}
	if arg.short != 0 {
		s = "-" + string(arg.short) + ", " + s
	}
	return s
}

// PrintHelp lists the arguments of glusterfs.
func PrintHelp(w io.Writer) {
	fmt.Fprint(w, `Usage: glusterfs --volfile-server=HOST --volfile-id=VOLUME [ARGUMENT…] MOUNT-POINT
       glusterfs --volfile=FILE [ARGUMENT…] MOUNT-POINT
`)
	for g := basic; g < unlisted; g++ {
		fmt.Fprintf(w, "\n%s:\n", groupNames[g])
		for i := range table {
			if arg := &table[i]; arg.group == g {
				printItem(w, arg.form(), arg.help)
			}
		}
	}
	fmt.Fprintln(w, "\nFurther arguments of GlusterFS's are accepted without effect, with a warning, or\nrefused with the reason.")
}

func printItem(w io.Writer, name, help string) {
	if len(name) > 30 {
		fmt.Fprintf(w, "  %s\n  %30s  %s\n", name, "", help)
		return
	}
	fmt.Fprintf(w, "  %-30s  %s\n", name, help)
}

// optionHelp is for options of mount(8) that are no arguments of glusterfs under
// their own name.
var optionHelp = map[string]string{
	"ro":                     "nothing can be changed through the mount",
	"transport":              "how the servers are reached: tcp",
	"volume-id":              "name of the volume, in place of that in the source",
	"backup-volfile-servers": "further servers to ask for the volfile, separated by colons",
	"backupvolfile-server":   "one further server; the older form",
	"root-squash":            "no: as no-root-squash",
	"halo-max-latency":       "halo replication: milliseconds to the farthest brick in use",
	"halo-max-replicas":      "halo replication: how many bricks are in use at most",
	"halo-min-replicas":      "halo replication: how many bricks are in use at least",
	"remount":                "change ro, rw, noatime and other options of the kernel on a mount that is there",
	"auto_unmount":           "free the mount point if the process dies",
	"server-port":            "port of the servers (default 24007)",
	"fetch-attempts":         "ask all servers at most so many times, within mount-timeout",
	"process-name":           "servers list the client as fuse.NAME",
	"_netdev":                "for mount(8) and systemd, as are auto, noauto, user, users and x-…",
}

// optionValue is what values of such options are called.
var optionValue = map[string]string{
	"backup-volfile-servers": "HOST:HOST…", "backupvolfile-server": "HOST", "transport": "tcp", "volume-id": "VOLUME",
	"root-squash": "BOOL", "halo-max-latency": "MS", "halo-max-replicas": "N", "halo-min-replicas": "N",
}

// printOptions lists the options of mount(8).
func printOptions(w io.Writer) {
	var kernel, unused []string
	for _, name := range slices.SortedFunc(maps.Keys(mountOptions), cmp.Compare) {
		o := mountOptions[name]
		help := optionHelp[name]
		arg := lookup(cmp.Or(o.arg, name))
		if help == "" && arg != nil {
			help = cmp.Or(arg.help, "no effect: "+arg.idle)
		}
		switch {
		case o.kind == optUnused:
			unused = append(unused, name)
			continue
		case help == "" && (o.kind == optIgnore || o.kind == optMounted):
			continue
		case help == "":
			kernel = append(kernel, name)
			continue
		}
		switch {
		case o.kind == optValue, o.kind == optSpecial && name != "remount":
			value := cmp.Or(optionValue[name], "VALUE")
			if arg != nil && arg.value != "" {
				value = arg.value
			}
			name += "=" + value
		case o.kind == optMaybe:
			name += "[=BOOL]"
		}
		printItem(w, name, help)
	}
	fmt.Fprintf(w, "\nFor the kernel:\n%s\n\nAccepted with a warning, as GlusterFS does not handle them:\n%s\n", wrap(kernel), wrap(unused))
}

// wrap joins words in lines of a screen's width.
func wrap(words []string) string {
	s, width := " ", 1
	for i, word := range words {
		if i < len(words)-1 {
			word += ","
		}
		if width += 1 + len(word); width > 78 {
			s += "\n "
			width = 2 + len(word)
		}
		s += " " + word
	}
	return s
}

// Flag is an argument as a flag of wythe mount.
type Flag struct {
	Name, Value, Help string
	Optional          bool // the value may be left out
}

// Flags lists the arguments that make sense beside a source: all but those that
// tell where the volume is, and those that mount nothing.
func Flags() []Flag {
	var all []Flag
	for i := range table {
		arg := &table[i]
		switch arg.name {
		case "volfile", "volfile-server", "volfile-id", "version", "help":
			continue
		}
		if arg.group < unlisted {
			all = append(all, Flag{arg.name, arg.value, arg.help, arg.kind == argOptional && strings.HasPrefix(arg.value, "BOOL")})
		}
	}
	return all
}
