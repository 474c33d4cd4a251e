package gfapi

import (
	"context"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// maxLinks is how many symbolic links one path may lead through.
const maxLinks = 40

// aim says how far a walk goes.
type aim int

const (
	toParent aim = iota // the last element is not looked at
	toLink              // the last element is looked up, and not followed
	toTarget            // the last element is looked up and followed
)

// place is where a path leads.
type place struct {
	dir   fop.GFID // of the last element
	name  string   // the last element; "" if the path leads to dir itself
	slash bool     // a slash follows it: it shall be a directory

	// Of a walk to the last element:
	found  bool
	gfid   fop.GFID
	isDir  bool
	attr   fop.Iatt // zero when the place is known from the cache
	target string   // of a link known from the cache
	x      *fop.Dict

	warm bool // the place itself is from the cache
}

// walker resolves one path.
type walker struct {
	v       *Volume
	ctx     context.Context
	cold    bool // do not believe the cache
	warm    bool // something came from the cache
	content bool // ask for the contents of a small file
	// make, if set, is the mode of directories to make where none are, but not
	// where a symbolic link leads: there as much of the path is left as until.
	make    *uint32
	until   int
	inLink  bool
	made    bool // the last of chain was just made
	needAll bool // attributes are wanted: the cache has none

	chain []fop.GFID // directories from the root of the view on
	links int
}

func (w *walker) top() fop.GFID { return w.chain[len(w.chain)-1] }

// walk follows path. With toTarget and toLink a missing last element is no
// error: found is false then, and dir and name say where it would be.
func (w *walker) walk(path string, to aim) (place, error) {
	if path == "" {
		return place{}, syscall.ENOENT
	}
	if strings.IndexByte(path, 0) >= 0 {
		return place{}, syscall.EINVAL
	}
	if w.chain == nil {
		w.chain = make([]fop.GFID, 1, 16)
	}
	w.chain = append(w.chain[:0], w.v.root)
	rest, slash := path, false
	for {
		for rest != "" && rest[0] == '/' {
			rest = rest[1:]
		}
		if rest == "" {
			return w.here(to)
		}
		name, after, more := strings.Cut(rest, "/")
		last := strings.Trim(after, "/") == ""
		rest = after
		switch name {
		case ".":
			continue
		case "..":
			if len(w.chain) > 1 {
				w.chain = w.chain[:len(w.chain)-1]
			}
			continue
		}
		slash = slash || last && more
		w.inLink = w.inLink && len(rest) >= w.until
		if last && to == toParent {
			return place{dir: w.top(), name: name, slash: slash}, nil
		}
		p, target, err := w.step(name, last, !last || to == toTarget || slash)
		switch {
		case err != nil:
			return p, err
		case !p.found:
			p.slash = slash
			return p, nil
		case target != "":
			if w.links++; w.links > maxLinks {
				return place{}, w.linkError(syscall.ELOOP, len(rest))
			}
			if target[0] == '/' {
				w.chain = w.chain[:1]
			}
			if !w.inLink {
				w.inLink, w.until = true, len(rest)
			}
			rest = target + "/" + rest
			if last && !slash { // the slash is ours, not the user's
				rest = target
			}
			continue
		case p.isDir:
			if last {
				p.slash = slash
				return p, nil
			}
			w.chain = append(w.chain, p.gfid)
		case !last || slash:
			return place{}, w.linkError(syscall.ENOTDIR, len(rest))
		default:
			return p, nil
		}
	}
}

// linkError is what is said when a symbolic link cannot be followed: e, but
// EEXIST where directories are to be made, for the link is in the way then. left
// is how much of the path is.
func (w *walker) linkError(e syscall.Errno, left int) error {
	if w.make != nil && (e == syscall.ELOOP || w.inLink && left > w.until) {
		return syscall.EEXIST
	}
	return e
}

// here is the place of a path that ends in a directory of the chain.
func (w *walker) here(to aim) (place, error) {
	p := place{dir: w.top(), gfid: w.top(), found: true, isDir: true, warm: w.warm}
	if to != toParent && w.needAll {
		a, err := w.v.m.vol.Getattr(w.ctx, &w.v.cred, p.gfid)
		if err != nil {
			return p, err
		}
		p.attr = a
	}
	return p, nil
}

// step looks up one element in the last directory of the chain. target is not
// empty if it is a symbolic link that is to be followed.
func (w *walker) step(name string, last, follow bool) (p place, target string, err error) {
	m, dir, cred := w.v.m, w.top(), w.v.credID
	p = place{dir: dir, name: name}
	e, ok, epoch := m.cache.get(dir, name, cred)
	if ok && !w.cold && (e.link && follow || !(last && w.needAll)) {
		w.warm, w.made = true, false
		p.found, p.gfid, p.isDir, p.target, p.warm = true, e.gfid, !e.link, e.target, true
		if follow {
			target = e.target
		}
		return p, target, nil
	}
	var denied error // why a directory could not be made
	mayMake := w.make != nil && !w.inLink
	if mayMake && (w.made || last) {
		var done bool
		if done, denied = w.mkdir(&p, epoch); done {
			return p, "", nil
		}
	}
	r, err := w.lookup(dir, name, last)
	if is(err, syscall.ENOENT) && mayMake && denied == nil {
		var done bool
		if done, denied = w.mkdir(&p, epoch); done {
			return p, "", nil
		}
		r, err = w.lookup(dir, name, last) // somebody else made it
	}
	switch {
	case is(err, syscall.ENOENT) && denied != nil:
		return p, "", denied
	case is(err, syscall.ENOENT) && w.make != nil:
		return p, "", syscall.EEXIST // a dangling link is in the way
	case is(err, syscall.ENOENT) && last:
		return p, "", nil
	case err != nil:
		return p, "", err
	}
	w.made = false
	a := &r.Stat
	p.found, p.gfid, p.attr, p.isDir, p.x = true, a.GFID, *a, a.IsDir(), r.XData
	switch {
	case p.isDir:
		m.cache.put(dir, name, cred, epoch, entry{gfid: a.GFID})
	case a.IsSymlink() && follow:
		if ok && e.link && e.gfid == a.GFID { // a link never changes its target
			target = e.target
		} else if target, err = m.vol.Readlink(w.ctx, &w.v.cred, a.GFID); err != nil {
			return p, "", err
		}
		if target == "" {
			return p, "", syscall.ENOENT
		}
		m.cache.put(dir, name, cred, epoch, entry{gfid: a.GFID, link: true, target: target})
	}
	return p, target, nil
}

func (w *walker) lookup(dir fop.GFID, name string, last bool) (*fop.LookupReply, error) {
	var want *fop.Dict
	if last && w.content {
		want = fop.NewDict(fop.Pair{Key: fop.KeyContent, Val: fop.Uint(contentLimit)})
	}
	return w.v.m.vol.LookupX(w.ctx, &w.v.cred, dir, name, want)
}

// mkdir makes the directory that p names. done is false if that did not work,
// and err is nil then if there is something already.
func (w *walker) mkdir(p *place, epoch uint64) (done bool, err error) {
	m := w.v.m
	a, err := m.vol.Mkdir(w.ctx, &w.v.cred, p.dir, p.name, *w.make, m.umask)
	if is(err, syscall.EEXIST) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	m.cache.put(p.dir, p.name, w.v.credID, epoch, entry{gfid: a.GFID})
	m.cache.isEmpty(a.GFID)
	p.found, p.gfid, p.isDir, p.attr = true, a.GFID, true, a
	w.made = true
	return true, nil
}

// at walks path and does f at the place. When what the cache said turns out to
// be wrong it does both once more without the cache.
func (v *Volume) at(ctx context.Context, path string, to aim, setup func(*walker), f func(place) error) error {
	for cold := false; ; cold = true {
		w := walker{v: v, ctx: ctx, cold: cold}
		if setup != nil {
			setup(&w)
		}
		p, err := w.walk(path, to)
		if err == nil {
			err = f(p)
		}
		if err == nil || cold || !w.warm {
			return err
		}
		if !is(err, syscall.ESTALE) && !(p.warm && is(err, syscall.ENOENT, syscall.EISDIR, syscall.ENOTDIR)) {
			return err
		}
	}
}

// object walks to what must exist.
func (v *Volume) object(ctx context.Context, path string, to aim, needAll bool, f func(place) error) error {
	return v.at(ctx, path, to, func(w *walker) { w.needAll = needAll }, func(p place) error {
		if !p.found {
			return syscall.ENOENT
		}
		return f(p)
	})
}

// entry walks to a name that is to be made, moved or removed.
func (v *Volume) entry(ctx context.Context, path string, f func(place) error) error {
	return v.at(ctx, path, toParent, nil, f)
}
