package replicate

import (
	"context"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// keyVolumeCount asks whether a brick has notes of things to heal, in any object.
const (
	keyVolumeCount  = "link-count"
	xattropIndexCnt = "glusterfs.xattrop_index_count"
)

// changelogKeys ask a Lookup or Fstat for the changelogs of an object.
func (r *replicate) changelogKeys() *fop.Dict {
	d := fop.NewDict()
	d.Grow(r.n + 8)
	for _, key := range r.pending {
		d.Append(key, fop.Uint(changelogSize))
	}
	d.Append(r.dirty, fop.Uint(changelogSize))
	d.Append(fop.KeyListXattr, fop.Int(1))
	d.Append(keyVolumeCount, fop.Str(xattropIndexCnt))
	return d
}

// refreshKeys are the keys that a refresh asks for.
func (r *replicate) refreshKeys() *fop.Dict {
	return r.changelogKeys().Set(fop.KeyInodelkDomCount, fop.Str(r.name))
}

// inspect asks all children that are up about an object: by its GFID, or by the
// open file where there is one, which may have lost its names. It stores which
// copies are readable and leaves the answers in as.
func (r *replicate) inspect(ctx context.Context, o *ref, cred *fop.Cred, fd *fop.Fd, v view, as []answer) (found, error) {
	seen := o.V.suspicion()
	var req fop.Request
	if fd != nil {
		req = &fop.Fstat{Header: fop.Header{Cred: *cred, XData: r.askRefresh}, GFID: o.GFID, Fd: fd}
	} else {
		req = &fop.Lookup{Header: fop.Header{Cred: *cred, XData: r.askRefresh}, GFID: o.GFID}
	}
	good := r.fan(ctx, v.up, req, as)
	if good == 0 || !r.conf.Load().quorum.met(good) {
		return found{}, r.failure("refresh", as)
	}
	f := r.interpret(as)
	o.V.setType(f.kind)
	o.V.learn(f.maps, v.gen)
	if f.passing {
		o.V.suspect()
	} else {
		o.V.heed(seen)
	}
	return f, nil
}

// refresh asks all children that are up for an object's changelogs and stores
// which copies are readable. It returns them even if there are none.
func (r *replicate) refresh(ctx context.Context, o *ref, cred *fop.Cred, fd *fop.Fd, v view) (maps, error) {
	var buf [maxChildren]answer
	f, err := r.inspect(ctx, o, cred, fd, v, buf[:r.n])
	return f.maps, err
}

// splitBrain is the error of a fop on an object none of whose copies is good.
func (r *replicate) splitBrain(what fop.Op, g fop.GFID) error {
	return fmt.Errorf("%s: %v %v: no copy that can be reached is known to be good (split-brain): %w", r.name, what, g, syscall.EIO)
}
