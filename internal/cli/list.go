package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wythefs/wythe/gfapi"
)

// plain drops the operation and path that errors of gfapi carry, where the line
// names the object already, and the words of translators where the errno says all.
func plain(err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		err = pe.Err
	case errors.As(err, &le):
		err = le.Err
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case syscall.ENOENT, syscall.EEXIST, syscall.ENOTDIR, syscall.EISDIR, syscall.ENOTEMPTY, syscall.EACCES, syscall.EPERM,
			syscall.ENODATA, syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT:
			return errno
		}
	}
	return err
}

// entry is what ls and stat tell of an object.
type entry struct {
	Name   string    `json:"name"`
	Type   string    `json:"type"`
	Mode   string    `json:"mode"`
	Size   int64     `json:"size"`
	Blocks uint64    `json:"blocks"`
	Nlink  uint32    `json:"nlink"`
	UID    uint32    `json:"uid"`
	GID    uint32    `json:"gid"`
	GFID   string    `json:"gfid"`
	Ino    uint64    `json:"ino"`
	Mtime  time.Time `json:"mtime"`
	Atime  time.Time `json:"atime"`
	Ctime  time.Time `json:"ctime"`
	Target string    `json:"target,omitempty"`
}

func newEntry(name string, info fs.FileInfo) entry {
	e := entry{Name: name, Type: typeName(info.Mode()), Mode: modeString(info.Mode()), Size: info.Size(), Mtime: info.ModTime()}
	if st, ok := info.Sys().(*gfapi.Stat); ok {
		e.Blocks, e.Nlink, e.UID, e.GID = st.Blocks, st.Nlink, st.UID, st.GID
		e.GFID, e.Ino, e.Atime, e.Ctime = st.GFID.String(), st.Ino, st.Atime, st.Ctime
	}
	return e
}

// modeString is the mode as ls(1) has it, ten letters; fs.FileMode's own String
// has others.
func modeString(m fs.FileMode) string {
	letters := []byte("-rwxrwxrwx")
	switch {
	case m.IsDir():
		letters[0] = 'd'
	case m&fs.ModeSymlink != 0:
		letters[0] = 'l'
	case m&fs.ModeNamedPipe != 0:
		letters[0] = 'p'
	case m&fs.ModeSocket != 0:
		letters[0] = 's'
	case m&fs.ModeCharDevice != 0:
		letters[0] = 'c'
	case m&fs.ModeDevice != 0:
		letters[0] = 'b'
	}
	for i := range 9 {
		if m&(1<<(8-i)) == 0 {
			letters[i+1] = '-'
		}
	}
	for _, special := range []struct {
		bit   fs.FileMode
		at    int
		lower byte
	}{{fs.ModeSetuid, 3, 's'}, {fs.ModeSetgid, 6, 's'}, {fs.ModeSticky, 9, 't'}} {
		if m&special.bit == 0 {
			continue
		}
		if letters[special.at] == 'x' {
			letters[special.at] = special.lower
		} else {
			letters[special.at] = special.lower - 'a' + 'A'
		}
	}
	return string(letters)
}

func typeName(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "file"
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "symlink"
	case m&fs.ModeNamedPipe != 0:
		return "fifo"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeCharDevice != 0:
		return "character device"
	case m&fs.ModeDevice != 0:
		return "block device"
	}
	return "unknown"
}

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (a *app) lsCommand() *cobra.Command {
	var long, recursive, all, byTime, bySize bool
	cmd := &cobra.Command{
		Use:     "ls ADDRESS...",
		Short:   "List directories",
		Example: "  wythe ls -l gluster://localhost/data/photos",
		Args:    minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			found := []entry{}
			err := a.eachTarget(cmd, args, func(v *gfapi.Volume, t target) error {
				list := func(dir string) ([]entry, error) { return listDir(v, dir, all, long || a.json) }
				info, err := v.Lstat(t.Path)
				if err != nil {
					return err
				}
				if !info.IsDir() {
					found = append(found, newEntry(t.Path, info))
					return nil
				}
				if !a.json && len(args) > 1 {
					fmt.Fprintf(a.out, "%s:\n", t)
				}
				return a.walkList(t.Path, recursive, list, func(dir string, es []entry) error {
					sortEntries(es, byTime, bySize)
					if a.json {
						for _, e := range es {
							if recursive {
								e.Name = path.Join(dir, e.Name)
							}
							found = append(found, e)
						}
						return nil
					}
					if recursive {
						fmt.Fprintf(a.out, "%s:\n", dir)
					}
					printEntries(a.out, es, long)
					if recursive {
						fmt.Fprintln(a.out)
					}
					return nil
				})
			})
			if a.json {
				return errors.Join(a.printJSON(found), err)
			}
			printEntries(a.out, found, long)
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&long, "long", "l", false, "mode, links, owner, size, time and name")
	f.BoolVarP(&recursive, "recursive", "R", false, "go into directories")
	f.BoolVarP(&all, "all", "a", false, "also names that begin with a dot")
	f.BoolVarP(&byTime, "time", "t", false, "newest first")
	f.BoolVarP(&bySize, "size", "S", false, "largest first")
	return cmd
}

func listDir(v *gfapi.Volume, dir string, all, stat bool) ([]entry, error) {
	des, err := v.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	es := make([]entry, 0, len(des))
	for _, de := range des {
		if !all && de.Name()[0] == '.' {
			continue
		}
		info, err := de.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		e := newEntry(de.Name(), info)
		if stat && e.Type == "symlink" {
			e.Target, _ = v.Readlink(path.Join(dir, de.Name()))
		}
		es = append(es, e)
	}
	return es, nil
}

func (a *app) walkList(dir string, recursive bool, list func(string) ([]entry, error), show func(string, []entry) error) error {
	es, err := list(dir)
	if err != nil {
		return err
	}
	if err := show(dir, es); err != nil || !recursive {
		return err
	}
	for _, e := range es {
		if e.Type == "directory" {
			if err := a.walkList(path.Join(dir, e.Name), true, list, show); err != nil {
				return err
			}
		}
	}
	return nil
}

func sortEntries(es []entry, byTime, bySize bool) {
	sort.SliceStable(es, func(i, j int) bool {
		switch {
		case byTime && !es[i].Mtime.Equal(es[j].Mtime):
			return es[i].Mtime.After(es[j].Mtime)
		case bySize && es[i].Size != es[j].Size:
			return es[i].Size > es[j].Size
		}
		return es[i].Name < es[j].Name
	})
}

func printEntries(w io.Writer, es []entry, long bool) {
	if !long {
		for _, e := range es {
			name := e.Name
			if e.Type == "directory" {
				name += "/"
			}
			fmt.Fprintln(w, name)
		}
		return
	}
	tw := tabwriter.NewWriter(w, 0, 8, 1, ' ', tabwriter.AlignRight)
	for _, e := range es {
		name := e.Name
		if e.Target != "" {
			name += " -> " + e.Target
		}
		fmt.Fprintf(tw, "%s\t%d\t%d\t%d\t%d\t %s %s\n", e.Mode, e.Nlink, e.UID, e.GID, e.Size, e.Mtime.Local().Format("2006-01-02 15:04:05"), name)
	}
	tw.Flush()
}

func (a *app) statCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "stat ADDRESS...",
		Short: "Show everything about an object",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			found := []entry{}
			err := a.eachTarget(cmd, args, func(v *gfapi.Volume, t target) error {
				stat := v.Lstat
				if follow {
					stat = v.Stat
				}
				info, err := stat(t.Path)
				if err != nil {
					return err
				}
				e := newEntry(t.Path, info)
				if e.Type == "symlink" {
					e.Target, _ = v.Readlink(t.Path)
				}
				found = append(found, e)
				return nil
			})
			if a.json {
				return errors.Join(a.printJSON(found), err)
			}
			for _, e := range found {
				fmt.Fprintf(a.out, "  Path: %s", e.Name)
				if e.Target != "" {
					fmt.Fprintf(a.out, " -> %s", e.Target)
				}
				fmt.Fprintf(a.out, "\n  Type: %-20s Size: %-12d Blocks: %d\n  GFID: %s  Inode: %d\n  Mode: %s  Links: %d  Uid: %d  Gid: %d\n",
					e.Type, e.Size, e.Blocks, e.GFID, e.Ino, e.Mode, e.Nlink, e.UID, e.GID)
				const f = "2006-01-02 15:04:05.000000000 -0700"
				fmt.Fprintf(a.out, "Access: %s\nModify: %s\nChange: %s\n", e.Atime.Local().Format(f), e.Mtime.Local().Format(f), e.Ctime.Local().Format(f))
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "dereference", "L", false, "follow a symbolic link")
	return cmd
}

func (a *app) dfCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "df ADDRESS...",
		Short: "Show how much room a volume has",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			type row struct {
				Volume string `json:"volume"`
				Size   uint64 `json:"size"`
				Used   uint64 `json:"used"`
				Avail  uint64 `json:"available"`
				Files  uint64 `json:"files"`
				Ffree  uint64 `json:"files_free"`
			}
			rows := []row{}
			err := a.eachTarget(cmd, args, func(v *gfapi.Volume, t target) error {
				st, err := v.Statfs(t.Path)
				if err != nil {
					return err
				}
				rows = append(rows, row{t.String(), st.Blocks * st.Frsize, (st.Blocks - st.Bfree) * st.Frsize, st.Bavail * st.Frsize, st.Files, st.Ffree})
				return nil
			})
			if a.json {
				return errors.Join(a.printJSON(rows), err)
			}
			if len(rows) > 0 {
				tw := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
				fmt.Fprintln(tw, "VOLUME\tSIZE\tUSED\tAVAIL\tUSE%\tFILES FREE")
				for _, r := range rows {
					pct := 0.0
					if r.Used+r.Avail > 0 {
						pct = 100 * float64(r.Used) / float64(r.Used+r.Avail)
					}
					fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%.0f%%\t%d\n", r.Volume, size(int64(r.Size)), size(int64(r.Used)), size(int64(r.Avail)), pct, r.Ffree)
				}
				tw.Flush()
			}
			return err
		},
	}
}
