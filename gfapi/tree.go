package gfapi

import (
	"context"
	"strings"
	"sync"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/paths"
)

// removers is how many requests RemoveAll has under way at once.
const removers = 16

// RemoveAll removes a name and, if it is a directory's, all below it. It
// removes what it can and returns the first error; nil if there is nothing.
func (v *Volume) RemoveAll(name string) error {
	if name == "" {
		return nil
	}
	if name == "." || strings.HasSuffix(name, "/.") {
		return pathError("removeall", name, syscall.EINVAL)
	}
	return v.do("removeall", name, func(ctx context.Context) error {
		err := v.entry(ctx, name, func(p paths.Place) error {
			if p.Name == "" {
				r := &remover{v: v, ctx: ctx, slots: make(chan struct{}, removers)}
				r.empty(p.Dir)
				if r.err == nil && p.Dir == v.root {
					return syscall.EBUSY // the root itself stays
				}
				return r.err
			}
			err := v.remove(ctx, p)
			if !is(err, syscall.ENOTEMPTY, syscall.EEXIST) {
				return err
			}
			r := &remover{v: v, ctx: ctx, slots: make(chan struct{}, removers)}
			r.tree(p.Dir, p.Name, fop.GFID{})
			return r.err
		})
		if is(err, syscall.ENOENT) {
			return nil
		}
		return err
	})
}

// remover removes a tree, several requests at a time.
type remover struct {
	v     *Volume
	ctx   context.Context
	slots chan struct{}

	mu  sync.Mutex
	err error // the first
}

func (r *remover) fail(err error) {
	if err == nil || is(err, syscall.ENOENT, syscall.ESTALE) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// run does f at the same time if there is a slot for it, else now.
func (r *remover) run(wg *sync.WaitGroup, f func()) {
	select {
	case r.slots <- struct{}{}:
		wg.Go(func() {
			defer func() { <-r.slots }()
			f()
		})
	default:
		f()
	}
}

// tree removes the directory name of dir; g is its gfid, if known.
func (r *remover) tree(dir fop.GFID, name string, g fop.GFID) {
	v := r.v
	if g.IsZero() {
		a, err := v.m.vol.Lookup(r.ctx, &v.cred, dir, name)
		if err != nil {
			r.fail(err)
			return
		}
		if g = a.GFID; !a.IsDir() {
			r.fail(v.m.vol.Unlink(r.ctx, &v.cred, dir, name))
			return
		}
	}
	var err error
	for range 5 { // somebody may put something in meanwhile
		if err = r.ctx.Err(); err != nil {
			break
		}
		if !r.empty(g) {
			return
		}
		err = v.m.vol.Rmdir(r.ctx, &v.cred, dir, name)
		v.m.cache.Drop(dir, name)
		if !is(err, syscall.ENOTEMPTY, syscall.EEXIST) {
			break
		}
	}
	r.fail(err)
}

// empty removes all that is in a directory and reports whether that worked.
func (r *remover) empty(g fop.GFID) bool {
	v := r.v
	d, err := v.m.vol.Opendir(r.ctx, &v.cred, g)
	if err != nil {
		r.fail(err)
		return is(err, syscall.ENOENT, syscall.ESTALE)
	}
	var off uint64
	var wg sync.WaitGroup
	for eof := false; !eof && err == nil && r.ctx.Err() == nil; {
		var page []fop.Dirent
		page, eof, err = d.Readdirp(r.ctx, &v.cred, off, listSize)
		for i := range page {
			e := &page[i]
			off = e.Off
			if e.Name == "." || e.Name == ".." {
				continue
			}
			isDir := e.Stat.IsDir() || e.Stat.IsZero() && e.Type == fop.ModeDir>>12
			r.run(&wg, func() {
				if isDir {
					r.tree(g, e.Name, e.Stat.GFID)
				} else {
					r.fail(v.m.vol.Unlink(r.ctx, &v.cred, g, e.Name))
					v.m.cache.Drop(g, e.Name)
				}
			})
		}
	}
	wg.Wait()
	d.Close(context.WithoutCancel(r.ctx), &v.cred)
	r.fail(err)
	r.fail(r.ctx.Err())
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err == nil
}
