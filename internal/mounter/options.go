package mounter

import (
	"fmt"
	"slices"
	"strings"
)

// Request is what the options of mount(8) ask for.
type Request struct {
	// Source is what /proc/mounts shall show.
	Source string
	Dir    string
	// Args are those of glusterfs that do it, in the order in which GlusterFS's
	// helper gives them.
	Args     []string
	Warnings []string

	Remount bool     // change the mount that there is, by Kernel only
	Kernel  []string // the options that the kernel obeys
	Other   []string // the others, by name
}

// optionKind says what becomes of an option of mount(8).
type optionKind int

const (
	optIgnore  optionKind = iota // meant for mount(8), systemd or autofs
	optFlag                      // no value: --name
	optValue                     // name=value: --arg=value
	optMaybe                     // name or name=value
	optKernel                    // for the kernel
	optContext                   // name=value for the kernel
	optUnused                    // GlusterFS warns of it and goes on
	optMounted                   // shown of a mount by the kernel; comes back with remount
	optSpecial                   // see special
)

// mountOption is an option of mount(8) and the argument of glusterfs that it
// becomes, its own name where arg is empty.
type mountOption struct {
	kind optionKind
	arg  string
}

var mountOptions = map[string]mountOption{
	"rw": {kind: optKernel}, "auto": {}, "noauto": {}, "_netdev": {}, "defaults": {},
	// mount(8) and systemd see to these themselves, and pass some of them on.
	"user": {}, "nouser": {}, "users": {}, "owner": {}, "group": {}, "comment": {},

	"ro":                {optFlag, "read-only"},
	"acl":               {kind: optFlag},
	"selinux":           {kind: optFlag},
	"worm":              {kind: optFlag},
	"enable-ino32":      {kind: optFlag},
	"mem-accounting":    {kind: optFlag},
	"aux-gfid-mount":    {kind: optFlag},
	"thin-client":       {kind: optFlag},
	"resolve-gids":      {kind: optFlag},
	"global-threading":  {kind: optFlag},
	"localtime-logging": {kind: optFlag},
	"volfile-check":     {kind: optFlag},

	"log-file":                    {kind: optValue},
	"log-level":                   {kind: optSpecial},
	"transport":                   {kind: optSpecial},
	"direct-io-mode":              {kind: optValue},
	"volume-name":                 {kind: optValue},
	"volume-id":                   {kind: optSpecial},
	"subdir-mount":                {kind: optSpecial},
	"server-port":                 {optValue, "volfile-server-port"},
	"attribute-timeout":           {kind: optValue},
	"entry-timeout":               {kind: optValue},
	"negative-timeout":            {kind: optValue},
	"gid-timeout":                 {kind: optValue},
	"lru-limit":                   {kind: optValue},
	"invalidate-limit":            {kind: optValue},
	"background-qlen":             {kind: optValue},
	"congestion-threshold":        {kind: optValue},
	"oom-score-adj":               {kind: optValue},
	"backup-volfile-servers":      {kind: optSpecial},
	"backupvolfile-server":        {kind: optSpecial},
	"fetch-attempts":              {optValue, "volfile-max-fetch-attempts"},
	"xlator-option":               {kind: optValue},
	"fuse-mountopts":              {kind: optValue},
	"use-readdirp":                {kind: optValue},
	"event-history":               {kind: optValue},
	"reader-thread-count":         {kind: optValue},
	"auto-invalidation":           {kind: optValue},
	"root-squash":                 {kind: optSpecial},
	"no-root-squash":              {kind: optSpecial},
	"kernel-writeback-cache":      {kind: optValue},
	"attr-times-granularity":      {kind: optValue},
	"dump-fuse":                   {kind: optValue},
	"fuse-flush-handle-interrupt": {kind: optValue},
	"fuse-dev-eperm-ratelimit-ns": {kind: optValue},
	"fopen-keep-cache":            {kind: optMaybe},
	"halo-max-latency":            {kind: optSpecial},
	"halo-max-replicas":           {kind: optSpecial},
	"halo-min-replicas":           {kind: optSpecial},
	"process-name":                {kind: optSpecial},
	"io-engine":                   {kind: optValue},
	// Ours.
	"mount-timeout":  {kind: optValue},
	"fuse-transport": {kind: optValue},
	"pid-file":       {kind: optValue},
	"logger":         {kind: optValue},
	"secure-mgmt":    {kind: optMaybe},
	"capability":     {kind: optFlag},

	"context": {kind: optContext}, "fscontext": {kind: optContext}, "defcontext": {kind: optContext}, "rootcontext": {kind: optContext},

	"atime": {kind: optKernel}, "noatime": {kind: optKernel}, "diratime": {kind: optKernel}, "nodiratime": {kind: optKernel},
	"relatime": {kind: optKernel}, "norelatime": {kind: optKernel}, "strictatime": {kind: optKernel}, "nostrictatime": {kind: optKernel},
	"lazyatime": {kind: optKernel}, "nolazyatime": {kind: optKernel}, "lazytime": {kind: optKernel}, "nolazytime": {kind: optKernel},
	"dev": {kind: optKernel}, "nodev": {kind: optKernel}, "exec": {kind: optKernel}, "noexec": {kind: optKernel},
	"suid": {kind: optKernel}, "nosuid": {kind: optKernel}, "auto_unmount": {kind: optKernel},

	"async": {kind: optUnused}, "sync": {kind: optUnused}, "dirsync": {kind: optUnused}, "mand": {kind: optUnused}, "nomand": {kind: optUnused},
	"silent": {kind: optUnused}, "loud": {kind: optUnused}, "iversion": {kind: optUnused}, "noiversion": {kind: optUnused}, "nofail": {kind: optUnused},

	"default_permissions": {kind: optMounted}, "allow_other": {kind: optMounted}, "user_id": {kind: optMounted},
	"group_id": {kind: optMounted}, "max_read": {kind: optMounted}, "blksize": {kind: optMounted}, "fd": {kind: optMounted},
	"rootmode": {kind: optMounted}, "fsname": {kind: optMounted}, "subtype": {kind: optMounted}, "seclabel": {kind: optMounted},

	"remount": {kind: optSpecial},
}

// leading is the order in which GlusterFS's helper gives what stands before the
// source; what is not in it follows.
var leading = []string{
	"read-only", "acl", "selinux", "worm", "enable-ino32", "mem-accounting", "aux-gfid-mount", "thin-client", "resolve-gids",
	"global-threading", "localtime-logging", "volfile-max-fetch-attempts", "log-level", "log-file", "direct-io-mode",
	"reader-thread-count", "attribute-timeout", "entry-timeout", "negative-timeout", "gid-timeout",
}

// Add puts arguments of glusterfs before those that the options gave.
func (r *Request) Add(args ...string) { r.Args = append(slices.Clone(args), r.Args...) }

// reading collects a Request.
type reading struct {
	req     Request
	args    map[string][]string // by argument; a value of "" is a flag
	order   []string
	src     source
	process string
	backup  []string
	oldBack string
	mounted string // an option that only comes with remount
}

// ParseOptions turns the operands of mount(8) and the values of its -o into a
// request. isFile says whether a path is a readable file.
func ParseOptions(src, dir string, opts []string, isFile func(path string) bool) (*Request, error) {
	r := &reading{req: Request{Source: src, Dir: dir}, args: map[string][]string{}}
	var err error
	if r.src, r.req.Warnings, err = parseSource(src, isFile); err != nil {
		return nil, err
	}
	for _, list := range opts {
		for _, o := range splitOptions(list) {
			if err := r.option(o); err != nil {
				return nil, err
			}
		}
	}
	if r.mounted != "" && !r.req.Remount {
		return nil, usage("invalid option %s: the client sees to it", r.mounted)
	}
	if r.src.readOnly {
		r.set("read-only", "")
	}
	return r.finish()
}

func (r *reading) warn(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); !slices.Contains(r.req.Warnings, w) {
		r.req.Warnings = append(r.req.Warnings, w)
	}
}

// set gives an argument its value; the last one counts.
func (r *reading) set(arg, value string) {
	if r.args[arg] == nil {
		r.order = append(r.order, arg)
	}
	r.args[arg] = []string{value}
}

func (r *reading) add(arg, value string) {
	if r.args[arg] == nil {
		r.order = append(r.order, arg)
	}
	r.args[arg] = append(r.args[arg], value)
}

func (r *reading) option(word string) error {
	word = strings.TrimSpace(word)
	if word == "" || strings.HasPrefix(word, "x-") || strings.HasPrefix(word, "X-") {
		return nil
	}
	key, value, given := strings.Cut(word, "=")
	o, ok := mountOptions[key]
	if !ok {
		return usage("invalid option %s: mount.glusterfs -h lists the options", key)
	}
	arg := o.arg
	if arg == "" {
		arg = key
	}
	switch o.kind {
	case optFlag, optKernel, optUnused:
		if given {
			return usage("invalid option %s: %s takes no value", word, key)
		}
	case optValue, optContext:
		if value == "" {
			return usage("invalid option %s: write %s=VALUE", word, key)
		}
	}
	switch o.kind {
	case optKernel:
		r.kernel(word)
		return nil
	case optIgnore:
		return nil
	case optMounted:
		r.mounted = key
		return nil
	case optContext:
		r.kernel(key + `="` + strings.Trim(value, `"`) + `"`)
		return nil
	case optUnused:
		r.warn("mount option '%s' is not handled; mount goes on without it", key)
		return nil
	}
	if key == "ro" {
		r.kernel("ro")
	} else if key != "remount" {
		r.req.Other = append(r.req.Other, key)
	}
	switch {
	case o.kind == optSpecial:
		return r.special(key, value, given)
	case key == "fuse-mountopts":
		for _, k := range splitOptions(value) {
			r.kernel(k)
		}
	case key == "xlator-option":
		r.add(arg, value)
	case o.kind == optFlag:
		r.set(arg, "")
	case o.kind == optMaybe && !given:
		r.set(arg, "on")
	default:
		r.set(arg, value)
	}
	return nil
}

// kernel keeps an option for the kernel. ro is an argument of its own, and rw what
// there is without.
func (r *reading) kernel(word string) {
	r.req.Kernel = append(r.req.Kernel, word)
	if word == "rw" {
		delete(r.args, "read-only")
		r.order = slices.DeleteFunc(r.order, func(s string) bool { return s == "read-only" })
	}
}

func (r *reading) special(key, value string, given bool) error {
	if given == (key == "remount") || given && value == "" {
		if key == "remount" {
			return usage("invalid option remount=%s: remount takes no value", value)
		}
		return usage("invalid option %s: write %s=VALUE", key, key)
	}
	switch key {
	case "remount":
		r.req.Remount = true
	case "log-level":
		if _, ok := logLevels[strings.ToUpper(value)]; !ok {
			r.warn("invalid log level %s, using INFO", value)
			value = "INFO"
		}
		r.set(key, strings.ToUpper(value))
	case "transport":
		var a Arguments
		if err := setTransport(&a, value); err != nil {
			return usage("invalid option transport=%s: %w", value, err)
		}
		r.set("volfile-server-transport", value)
	case "volume-id":
		r.src.volume = value
	case "subdir-mount":
		dir, err := cleanSubdir(value)
		if err != nil {
			return usage("invalid option subdir-mount: %w", err)
		}
		r.src.subdir = dir
	case "backup-volfile-servers":
		r.backup = splitServers(value)
	case "backupvolfile-server":
		r.oldBack = value
	case "root-squash", "no-root-squash":
		on, err := parseBool(value)
		if err != nil {
			return usage("invalid option %s: %w", key, err)
		}
		if on == (key == "no-root-squash") {
			r.set("no-root-squash", "")
		} else {
			delete(r.args, "no-root-squash")
			r.order = slices.DeleteFunc(r.order, func(s string) bool { return s == "no-root-squash" })
		}
	case "process-name":
		r.process = value
	default: // halo-…
		r.add("xlator-option", "*replicate*."+key+"="+value)
	}
	return nil
}

func (r *reading) finish() (*Request, error) {
	emit := func(arg string) {
		for _, v := range r.args[arg] {
			if v == "" {
				r.req.Args = append(r.req.Args, "--"+arg)
			} else {
				r.req.Args = append(r.req.Args, "--"+arg+"="+v)
			}
		}
	}
	for _, arg := range leading {
		emit(arg)
	}
	for _, arg := range r.order {
		if !slices.Contains(leading, arg) && arg != "xlator-option" {
			emit(arg)
		}
	}
	var kernel []string
	for _, k := range r.req.Kernel {
		if k != "ro" && k != "rw" && !slices.Contains(kernel, k) {
			kernel = append(kernel, k)
		}
	}
	if len(kernel) > 0 {
		r.req.Args = append(r.req.Args, "--fuse-mountopts="+strings.Join(kernel, ","))
	}
	emit("xlator-option")
	process := "fuse"
	if r.process != "" {
		process += "." + r.process
	}
	r.req.Args = append(r.req.Args, "--process-name", process)
	if err := r.place(); err != nil {
		return nil, err
	}
	r.req.Args = append(r.req.Args, r.req.Dir)
	return &r.req, nil
}

// place appends the arguments about where the volume is.
func (r *reading) place() error {
	if r.src.volfile != "" {
		r.req.Args = append(r.req.Args, "--volfile="+r.src.volfile)
	} else {
		servers := r.src.servers
		more := r.backup
		if len(more) == 0 && r.oldBack != "" {
			more = []string{r.oldBack}
		}
		for _, s := range more {
			if len(s) > maxHostName {
				r.warn("server %s is left out: a host name has at most %d characters", s, maxHostName)
				continue
			}
			servers = append(servers, s)
		}
		for _, s := range servers {
			r.req.Args = append(r.req.Args, "--volfile-server="+s)
		}
		id := r.src.volume
		if t := r.args["volfile-server-transport"]; t != nil && t[0] == "tcp" {
			id += ".tcp"
		}
		r.req.Args = append(r.req.Args, "--volfile-id="+id)
	}
	if r.src.subdir != "" {
		r.req.Args = append(r.req.Args, "--subdir-mount="+r.src.subdir)
	}
	return nil
}
