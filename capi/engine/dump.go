//go:build linux && cgo

package main

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/wythefs/wythe/internal/graph"
)

// defaultDumpDir is where GlusterFS's programs put statedumps.
const defaultDumpDir = "/var/run/gluster"

func (c *call) glfsSetStatedumpPath() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	dir, err := c.path(1)
	if err != nil {
		return c.fail(err)
	}
	if st, err := os.Stat(dir); err == nil {
		if !st.IsDir() {
			return c.fail(syscall.EINVAL)
		}
		const w, x = 2, 1
		if syscall.Access(dir, w|x) != nil {
			return c.fail(syscall.EPERM)
		}
	}
	f.mu.Lock()
	f.dumpDir = dir
	f.mu.Unlock()
	return 0
}

func (c *call) glfsSysrq() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	switch byte(c.arg(1)) {
	case 'h':
		f.log.Info("glfs_sysrq knows h (help) and s (statedump)")
		return 0
	case 's':
		return c.done(f.dump())
	}
	return c.fail(syscall.ENOTSUP)
}

// dump writes a statedump.
func (f *fsys) dump() error {
	f.mu.Lock()
	dir := f.dumpDir
	f.mu.Unlock()
	if dir == "" {
		dir = defaultDumpDir
	}
	path, err := graph.Statedump(dir, "glusterdump", func(w io.Writer) {
		fmt.Fprintf(w, "[gfapi]\nvolume=%s\n", f.name)
		files, objects := 0, 0
		handles.each(func(v any) {
			switch v := v.(type) {
			case *fd:
				if v.fs == f {
					files++
				}
			case *object:
				if v.fs == f {
					objects++
				}
			}
		})
		fmt.Fprintf(w, "open_files=%d\nobjects=%d\n\n", files, objects)
		if l := f.live.Load(); l != nil {
			l.s.Use(func(g *graph.Graph) error {
				g.Dump(w)
				return nil
			})
		}
	})
	if err != nil {
		f.log.Error("statedump", "file", path, "err", err)
		return err
	}
	f.log.Info("statedump written", "file", path)
	return nil
}
