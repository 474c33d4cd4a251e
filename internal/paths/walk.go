package paths

import (
	"context"
	"slices"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volume"
)

// Resolver resolves the paths of one volume. Its fields are set before use.
type Resolver struct {
	Vol   *volume.Volume
	Cache *Cache
}

// MaxLinks is how many symbolic links one path may lead through, unless Walk
// says otherwise.
const MaxLinks = 40

// ContentLimit is the size up to which a lookup brings a file's contents along,
// the same as that of performance/quick-read.
const ContentLimit = 64 << 10

// Aim says how far a walk goes.
type Aim int

// Aims.
const (
	ToParent Aim = iota // the last element is not looked at
	ToLink              // the last element is looked up, and not followed
	ToTarget            // the last element is looked up and followed
)

// Dir is a directory on the way of a path. The first one has no name.
type Dir struct {
	GFID fop.GFID
	Name string
}

// Place is where a path leads.
type Place struct {
	Dir   fop.GFID // of the last element
	Name  string   // the last element; "" if the path leads to Dir itself
	Slash bool     // a slash follows it: it shall be a directory

	// Of a walk to the last element:
	Found  bool
	GFID   fop.GFID
	IsDir  bool
	Attr   fop.Iatt  // zero when the place is known from the cache
	Target string    // of a link known from the cache
	X      *fop.Dict // what came along with the lookup

	// Way has the directories from the root to Dir. It changes with the next
	// walk.
	Way []Dir

	warm bool // the place itself is from the cache
}

// Walk says for whom, from where and how a path is followed.
type Walk struct {
	Cred   *fop.Cred
	CredID int    // tells credentials apart that differ in what servers permit
	Umask  uint32 // for Make
	Root   fop.GFID
	From   []Dir // where a path begins that has no slash, from Root on; nil: at Root
	// Links is how many symbolic links the path may lead through; 0: MaxLinks.
	Links   int
	Content bool // ask for the contents of a small file
	NeedAll bool // attributes are wanted: the cache has none
	// Make, if set, is the mode of directories to make where none are, but not
	// where a symbolic link leads.
	Make *uint32
}

// walker is a walk under way.
type walker struct {
	*Walk
	r    *Resolver
	ctx  context.Context
	cold bool // do not believe the cache
	warm bool // something came from the cache
	// Directories are not made where a symbolic link leads: there as much of
	// the path is left as until.
	until  int
	inLink bool
	made   bool // the last of chain was just made

	chain []Dir // directories from the root on
	links int
}

func (w *walker) top() fop.GFID { return w.chain[len(w.chain)-1].GFID }

// walk follows path. With ToTarget and ToLink a missing last element is no
// error: found is false then, and dir and name say where it would be.
func (w *walker) walk(path string, to Aim) (Place, error) {
	if path == "" {
		return Place{}, syscall.ENOENT
	}
	if strings.IndexByte(path, 0) >= 0 {
		return Place{}, syscall.EINVAL
	}
	w.chain = make([]Dir, 0, 16)
	if path[0] == '/' || w.From == nil {
		w.chain = append(w.chain, Dir{GFID: w.Root})
	} else {
		w.chain = append(w.chain, w.From...)
	}
	maxLinks := w.Links
	if maxLinks == 0 {
		maxLinks = MaxLinks
	}
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
		if last && to == ToParent {
			return Place{Dir: w.top(), Name: name, Slash: slash, Way: w.chain}, nil
		}
		p, target, err := w.step(name, last, !last || to == ToTarget || slash)
		switch {
		case err != nil:
			return p, err
		case !p.Found:
			p.Slash = slash
			return p, nil
		case target != "":
			if w.links++; w.links > maxLinks {
				return Place{}, w.linkError(syscall.ELOOP, len(rest))
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
		case p.IsDir:
			if last {
				p.Slash = slash
				return p, nil
			}
			w.chain = append(w.chain, Dir{p.GFID, name})
		case !last || slash:
			return Place{}, w.linkError(syscall.ENOTDIR, len(rest))
		default:
			return p, nil
		}
	}
}

// linkError is what is said when a symbolic link cannot be followed: e, but
// EEXIST where directories are to be made, for the link is in the way then. left
// is how much of the path is.
func (w *walker) linkError(e syscall.Errno, left int) error {
	if w.Make != nil && (e == syscall.ELOOP || w.inLink && left > w.until) {
		return syscall.EEXIST
	}
	return e
}

// here is the place of a path that ends in a directory of the chain.
func (w *walker) here(to Aim) (Place, error) {
	p := Place{Dir: w.top(), GFID: w.top(), Found: true, IsDir: true, Way: w.chain, warm: w.warm}
	if to != ToParent && w.NeedAll {
		a, err := w.r.Vol.Getattr(w.ctx, w.Cred, p.GFID)
		if err != nil {
			return p, err
		}
		p.Attr = a
	}
	return p, nil
}

// step looks up one element in the last directory of the chain. target is not
// empty if it is a symbolic link that is to be followed.
func (w *walker) step(name string, last, follow bool) (p Place, target string, err error) {
	dir, cred, cache := w.top(), w.CredID, w.r.Cache
	p = Place{Dir: dir, Name: name, Way: w.chain}
	e, ok, epoch := cache.Get(dir, name, cred)
	if ok && !w.cold && (e.Link && follow || !(last && w.NeedAll)) {
		w.warm, w.made = true, false
		p.Found, p.GFID, p.IsDir, p.Target, p.warm = true, e.GFID, !e.Link, e.Target, true
		if follow {
			target = e.Target
		}
		return p, target, nil
	}
	var denied error // why a directory could not be made
	mayMake := w.Make != nil && !w.inLink
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
	case is(err, syscall.ENOENT) && w.Make != nil:
		return p, "", syscall.EEXIST // a dangling link is in the way
	case is(err, syscall.ENOENT) && last:
		return p, "", nil
	case err != nil:
		return p, "", err
	}
	w.made = false
	a := &r.Stat
	p.Found, p.GFID, p.Attr, p.IsDir, p.X = true, a.GFID, *a, a.IsDir(), r.XData
	switch {
	case p.IsDir:
		cache.Put(dir, name, cred, epoch, Entry{GFID: a.GFID})
	case a.IsSymlink() && follow:
		if ok && e.Link && e.GFID == a.GFID { // a link never changes its target
			target = e.Target
		} else if target, err = w.r.Vol.Readlink(w.ctx, w.Cred, a.GFID); err != nil {
			return p, "", err
		}
		if target == "" {
			return p, "", syscall.ENOENT
		}
		cache.Put(dir, name, cred, epoch, Entry{GFID: a.GFID, Link: true, Target: target})
	}
	return p, target, nil
}

func (w *walker) lookup(dir fop.GFID, name string, last bool) (*fop.LookupReply, error) {
	var want *fop.Dict
	if last && w.Content {
		want = fop.NewDict(fop.Pair{Key: fop.KeyContent, Val: fop.Uint(ContentLimit)})
	}
	return w.r.Vol.LookupX(w.ctx, w.Cred, dir, name, want)
}

// mkdir makes the directory that p names. done is false if that did not work,
// and err is nil then if there is something already.
func (w *walker) mkdir(p *Place, epoch uint64) (done bool, err error) {
	a, err := w.r.Vol.Mkdir(w.ctx, w.Cred, p.Dir, p.Name, *w.Make, w.Umask)
	if is(err, syscall.EEXIST) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	w.r.Cache.Put(p.Dir, p.Name, w.CredID, epoch, Entry{GFID: a.GFID})
	w.r.Cache.IsEmpty(a.GFID)
	p.Found, p.GFID, p.IsDir, p.Attr = true, a.GFID, true, a
	w.made = true
	return true, nil
}

// At walks path and does f at the place. When what the cache said turns out to
// be wrong it does both once more without the cache.
func (r *Resolver) At(ctx context.Context, walk *Walk, path string, to Aim, f func(Place) error) error {
	for cold := false; ; cold = true {
		w := walker{Walk: walk, r: r, ctx: ctx, cold: cold}
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

// is reports whether err is one of the errnos.
func is(err error, errnos ...syscall.Errno) bool {
	return err != nil && slices.Contains(errnos, fop.Errno(err))
}
