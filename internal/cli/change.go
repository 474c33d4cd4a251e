package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/wythefs/wythe/gfapi"
)

func (a *app) catCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cat ADDRESS...",
		Short: "Write files to standard output",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachTarget(cmd, args, func(v *gfapi.Volume, t target) error {
				f, err := v.Open(t.Path)
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = io.Copy(a.out, f)
				return err
			})
		},
	}
}

func (a *app) mkdirCommand() *cobra.Command {
	var parents bool
	var mode string
	cmd := &cobra.Command{
		Use:   "mkdir ADDRESS...",
		Short: "Make directories",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			perm, err := strconv.ParseUint(mode, 8, 32)
			if err != nil || perm > 0o777 {
				return usageError{fmt.Errorf("mode %q is not octal between 0 and 777", mode)}
			}
			return a.eachTarget(cmd, args, func(v *gfapi.Volume, t target) error {
				if parents {
					return v.MkdirAll(t.Path, fs.FileMode(perm))
				}
				return v.Mkdir(t.Path, fs.FileMode(perm))
			})
		},
	}
	cmd.Flags().BoolVarP(&parents, "parents", "p", false, "make missing parents; an existing directory is fine")
	cmd.Flags().StringVarP(&mode, "mode", "m", "755", "permissions, octal")
	return cmd
}

func (a *app) rmCommand() *cobra.Command {
	var recursive, force bool
	cmd := &cobra.Command{
		Use:   "rm ADDRESS...",
		Short: "Remove files, empty directories or, with -r, trees",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachTarget(cmd, args, func(v *gfapi.Volume, t target) error {
				if recursive {
					if t.Path == "/" {
						return fmt.Errorf("the root of a volume is not removed; name what is in it")
					}
					if !force {
						if _, err := v.Lstat(t.Path); err != nil {
							return err
						}
					}
					return v.RemoveAll(t.Path)
				}
				err := v.Remove(t.Path)
				if force && errors.Is(err, fs.ErrNotExist) {
					return nil
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "remove directories with all that is in them")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "what does not exist is fine")
	return cmd
}

// twoOnOne runs do with two addresses of the same volume.
func (a *app) twoOnOne(ctx context.Context, from, to string, do func(*gfapi.Volume, string, string) error) error {
	src, err := parseTarget(from)
	if err != nil {
		return err
	}
	dst, err := parseTarget(to)
	if err != nil {
		return err
	}
	if !src.remote() || !dst.remote() || src.base() != dst.base() {
		return usageError{fmt.Errorf("%s and %s are not on the same volume", from, to)}
	}
	m := a.mounts()
	defer m.close()
	v, err := m.get(ctx, src)
	if err != nil {
		return err
	}
	return do(v, src.Path, dst.Path)
}

// into returns where a thing named like from goes when to is a directory.
func into(t tree, from, to string, fromTree tree) string {
	if info, err := t.Stat(to); err == nil && info.IsDir() {
		return t.Join(to, fromTree.Base(from))
	}
	return to
}

func (a *app) mvCommand() *cobra.Command {
	var noClobber bool
	cmd := &cobra.Command{
		Use:   "mv ADDRESS ADDRESS",
		Short: "Rename within a volume; into a directory if the second is one",
		Args:  exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.twoOnOne(cmd.Context(), args[0], args[1], func(v *gfapi.Volume, from, to string) error {
				vt := volumeTree{v, ""}
				to = into(vt, from, to, vt)
				if noClobber {
					if _, err := v.Lstat(to); err == nil {
						return fmt.Errorf("%s: %w", to, fs.ErrExist)
					}
				}
				return v.Rename(from, to)
			})
		},
	}
	cmd.Flags().BoolVarP(&noClobber, "no-clobber", "n", false, "fail if the new name is taken")
	return cmd
}

func (a *app) lnCommand() *cobra.Command {
	var symbolic, force bool
	cmd := &cobra.Command{
		Use:     "ln TARGET ADDRESS",
		Short:   "Make a hard link, or with -s a symbolic one whose text is TARGET",
		Example: "  wythe ln gluster://h/data/a gluster://h/data/b\n  wythe ln -s ../a gluster://h/data/dir/b",
		Args:    exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !symbolic {
				return a.twoOnOne(cmd.Context(), args[0], args[1], func(v *gfapi.Volume, from, to string) error {
					if force {
						if err := v.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
							return err
						}
					}
					return v.Link(from, to)
				})
			}
			return a.eachTarget(cmd, args[1:], func(v *gfapi.Volume, t target) error {
				if force {
					if err := v.Remove(t.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
						return err
					}
				}
				return v.Symlink(args[0], t.Path)
			})
		},
	}
	cmd.Flags().BoolVarP(&symbolic, "symbolic", "s", false, "make a symbolic link")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "replace what has the name")
	return cmd
}

func (a *app) xattrCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "xattr",
		Short: "List, show, set and remove extended attributes",
		Args:  usageArgs(cobra.NoArgs),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "ls ADDRESS...", Short: "List names and values", Args: minArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				found := map[string]map[string]string{}
				err := a.eachTarget(cmd, args, func(v *gfapi.Volume, t target) error {
					names, err := v.Listxattr(t.Path)
					if err != nil {
						return err
					}
					if !a.json {
						fmt.Fprintf(a.out, "# %s\n", t)
					}
					found[t.String()] = map[string]string{}
					for _, name := range names {
						val, err := v.Getxattr(t.Path, name)
						if err != nil {
							return fmt.Errorf("%s: %w", name, plain(err))
						}
						found[t.String()][name] = plainValue(val)
						if !a.json {
							fmt.Fprintf(a.out, "%s=%s\n", name, showValue(val))
						}
					}
					return nil
				})
				if a.json {
					return errors.Join(a.printJSON(found), err)
				}
				return err
			},
		},
		&cobra.Command{
			Use: "get NAME ADDRESS...", Short: "Write the bytes of one value", Args: minArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.eachTarget(cmd, args[1:], func(v *gfapi.Volume, t target) error {
					val, err := v.Getxattr(t.Path, args[0])
					if err != nil {
						return err
					}
					if a.json {
						return a.printJSON(map[string]string{args[0]: plainValue(val)})
					}
					_, err = a.out.Write(append(bytes.Clone(val), '\n'))
					return err
				})
			},
		},
		&cobra.Command{
			Use: "set NAME VALUE ADDRESS...", Short: "Set a value: text, 0x… for hexadecimal, 0s… for base64", Args: minArgs(3),
			RunE: func(cmd *cobra.Command, args []string) error {
				val, err := parseValue(args[1])
				if err != nil {
					return usageError{err}
				}
				return a.eachTarget(cmd, args[2:], func(v *gfapi.Volume, t target) error {
					return v.Setxattr(t.Path, args[0], val, 0)
				})
			},
		},
		&cobra.Command{
			Use: "rm NAME ADDRESS...", Short: "Remove an attribute", Args: minArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				return a.eachTarget(cmd, args[1:], func(v *gfapi.Volume, t target) error {
					return v.Removexattr(t.Path, args[0])
				})
			},
		},
	)
	return cmd
}

// showValue prints a value as getfattr does: text in quotes, else hexadecimal.
func showValue(b []byte) string {
	if utf8.Valid(b) && !strings.ContainsFunc(string(b), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(string(b))
	}
	return "0x" + hex.EncodeToString(b)
}

// plainValue gives a value for JSON in a form that xattr set takes.
func plainValue(b []byte) string {
	s := showValue(b)
	if text, err := strconv.Unquote(s); err == nil && !strings.HasPrefix(text, "0x") && !strings.HasPrefix(text, "0s") {
		return text
	}
	return "0x" + hex.EncodeToString(b)
}

func parseValue(s string) ([]byte, error) {
	if h, ok := strings.CutPrefix(s, "0x"); ok {
		return hex.DecodeString(h)
	}
	if b, ok := strings.CutPrefix(s, "0s"); ok {
		return base64.StdEncoding.DecodeString(b)
	}
	return []byte(s), nil
}

// copyOptions are the flags of put, get and cp.
type copyOptions struct {
	recursive, force, sync bool
	workers                int
}

func (o *copyOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVarP(&o.recursive, "recursive", "r", false, "copy directories with all that is in them")
	f.BoolVarP(&o.force, "force", "f", false, "copy again what seems to be there (same size and time) or was begun")
	f.BoolVar(&o.sync, "sync", false, "make every file durable before it gets its name")
	f.IntVar(&o.workers, "workers", 8, "files at once")
}

// copyAll copies all but the last argument to the last one.
func (a *app) copyAll(cmd *cobra.Command, title string, args []string, o copyOptions) error {
	ctx := cmd.Context()
	dst, err := parseTarget(args[len(args)-1])
	if err != nil {
		return err
	}
	m := a.mounts()
	defer m.close()
	to, err := m.tree(ctx, dst)
	if err != nil {
		return err
	}
	meter := newMeter(a.err, title, !a.quiet && !a.json)
	t := &transfer{dst: to, force: o.force, sync: o.sync, workers: o.workers, meter: meter,
		report: func(err error) { fmt.Fprintf(a.err, "wythe: %v\n", err) }}
	sources := args[:len(args)-1]
	if len(sources) > 1 {
		if info, err := to.Stat(dst.Path); err != nil || !info.IsDir() {
			return usageError{fmt.Errorf("%s: several things go into a directory only", dst)}
		}
	}
	var first error
	for _, arg := range sources {
		src, err := parseTarget(arg)
		if err != nil {
			return err
		}
		if t.src, err = m.tree(ctx, src); err != nil {
			return err
		}
		if err := t.copy(ctx, src.Path, into(to, src.Path, dst.Path, t.src), o.recursive); err != nil {
			meter.Failed++
			if first == nil {
				first = err
			} else {
				t.report(err)
			}
		}
	}
	d := meter.finish()
	switch {
	case a.json:
		out := struct {
			counts
			Seconds float64 `json:"seconds"`
		}{meter.counts, d.Seconds()}
		err = a.printJSON(out)
	case !a.quiet:
		fmt.Fprintln(a.err, meter.summary(d))
	}
	if first == nil && err == nil && meter.Failed > 0 {
		return errReported
	}
	return errors.Join(first, err)
}

func (a *app) putCommand() *cobra.Command {
	var o copyOptions
	cmd := &cobra.Command{
		Use:     "put FILE... ADDRESS",
		Short:   "Copy from this machine to a volume; - is standard input; resumes what was interrupted",
		Example: "  wythe put -r photos gluster://localhost/data/\n  pg_dump db | wythe put - gluster://localhost/data/db.sql",
		Args:    minArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			for i, arg := range args {
				if strings.HasPrefix(arg, "gluster://") != (i == len(args)-1) {
					return usageError{fmt.Errorf("put copies local files to one gluster:// address; cp copies between volumes")}
				}
			}
			if len(args) == 2 && args[0] == "-" {
				return a.eachTarget(cmd, args[1:], func(v *gfapi.Volume, t target) error {
					f, err := v.OpenFile(t.Path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
					if err != nil {
						return err
					}
					_, err = f.ReadFrom(a.in)
					if o.sync && err == nil {
						err = f.Sync()
					}
					return errors.Join(err, f.Close())
				})
			}
			return a.copyAll(cmd, "put", args, o)
		},
	}
	o.flags(cmd)
	return cmd
}

func (a *app) getCommand() *cobra.Command {
	var o copyOptions
	cmd := &cobra.Command{
		Use:   "get ADDRESS... [FILE]",
		Short: "Copy from a volume to this machine; resumes what was interrupted",
		Args:  minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.HasPrefix(args[len(args)-1], "gluster://") {
				args = append(args, ".")
			}
			for i, arg := range args {
				if strings.HasPrefix(arg, "gluster://") == (i == len(args)-1) {
					return usageError{fmt.Errorf("get copies gluster:// addresses to one local place; cp copies between volumes")}
				}
			}
			if args[len(args)-1] == "-" {
				return a.eachTarget(cmd, args[:len(args)-1], func(v *gfapi.Volume, t target) error {
					f, err := v.Open(t.Path)
					if err != nil {
						return err
					}
					defer f.Close()
					_, err = f.WriteTo(a.out)
					return err
				})
			}
			return a.copyAll(cmd, "get", args, o)
		},
	}
	o.flags(cmd)
	return cmd
}

func (a *app) cpCommand() *cobra.Command {
	var o copyOptions
	cmd := &cobra.Command{
		Use:   "cp FROM... TO",
		Short: "Copy between volumes, within one, or to and from this machine",
		Args:  minArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.copyAll(cmd, "cp", args, o)
		},
	}
	o.flags(cmd)
	return cmd
}

// commands are all commands of the root.
func (a *app) commands() []*cobra.Command {
	all := []*cobra.Command{
		a.lsCommand(), a.statCommand(), a.catCommand(), a.putCommand(), a.getCommand(), a.cpCommand(),
		a.rmCommand(), a.mkdirCommand(), a.mvCommand(), a.lnCommand(), a.xattrCommand(), a.dfCommand(), a.whereCommand(),
	}
	return append(all, a.serverCommands()...)
}
