package distribute

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// A linkto stands on the hashed subvolume of a name for a file whose data is
// elsewhere: an empty regular file of mode 01000 with the file's gfid and the
// xattr trusted.glusterfs.dht.linkto, the name of the subvolume with the data
// and a NUL.
const (
	linktoMode = fop.ModeRegular | fop.ModeSticky
	// phase1 are the bits that a file carries while a rebalance process copies
	// it: applications do not see them.
	phase1     = fop.ModeSticky | fop.ModeSetgid
	modeBits   = 0o7777
	linktoSize = 256 // bytes of the xattr that lookups ask for
)

// isLinkto reports whether the answer to a lookup or an entry of a listing is
// a linkto: by mode and xattr. A data file may bear the xattr too.
func isLinkto(st *fop.Iatt, x *fop.Dict) bool {
	return likeLinkto(st) && x.Has(fop.XattrLinkto)
}

// likeLinkto reports whether an object has the mode of a linkto. If it has no linkto
// xattr, a user may have given a file of his that mode; or a linkto was removed
// while the brick read first the attributes and then that xattr, as GlusterFS's
// bricks and ours before this was known do.
func likeLinkto(st *fop.Iatt) bool { return st.IsRegular() && st.Mode&modeBits == fop.ModeSticky }

// linktoTarget is the subvolume that a linkto names, nil if it is none of ours.
func (d *distribute) linktoTarget(x *fop.Dict) *subvol {
	return d.subvolume(x.Text(fop.XattrLinkto))
}

// linkto makes a linkto of parent/name on hashed that points to data. upper are
// keys of the request at hand that go along, and at is its time, which bricks
// record as for any new file. What is there already stands for it; existed tells
// that. The linkto belongs to root until chownLinkto.
func (d *distribute) linkto(ctx context.Context, hashed, data *subvol, parent fop.GFID, name string, gfid fop.GFID, upper *fop.Dict, at fop.Stamp) (st fop.Iatt, existed bool, err error) {
	x := upper.Clone()
	x.Set(fop.KeyGFIDReq, fop.GFIDValue(gfid))
	x.Set(fop.KeyInternalFop, fop.Str("yes"))
	x.Set(fop.XattrLinkto, fop.Str(data.name))
	rep, err := fop.Call(ctx, hashed, &fop.Mknod{Header: fop.Header{Cred: su(""), Time: at, XData: x}, Parent: parent, Name: name, Mode: linktoMode})
	if err == nil {
		return rep.Stat, false, nil
	}
	if errors.Is(err, syscall.EEXIST) {
		have, lerr := fop.Call(ctx, hashed, &fop.Lookup{
			Header: asSu(fop.NewDict(fop.Pair{Key: fop.XattrLinkto, Val: fop.Uint(linktoSize)})),
			Parent: parent, Name: name})
		if lerr == nil {
			return have.Stat, true, nil
		}
		err = lerr
	}
	return st, false, fmt.Errorf("linkto of %q on %s: %w", name, hashed.name, err)
}

// chownLinkto gives a new linkto the owner of its file, behind the answer.
func (d *distribute) chownLinkto(ctx context.Context, hashed *subvol, gfid fop.GFID, owner *fop.Iatt, at fop.Stamp) {
	req := &fop.Setattr{Header: fop.Header{Cred: su(""), Time: at}, GFID: gfid, Stat: fop.Iatt{UID: owner.UID, GID: owner.GID}, Valid: fop.SetUID | fop.SetGID}
	ctx = context.WithoutCancel(ctx)
	p := hashed.Start(ctx, req)
	d.behind(ctx, func(context.Context) { p.Wait() })
}

// unlinkStale removes a linkto that leads nowhere; the brick refuses with EBUSY
// if it is none or is open.
func (d *distribute) unlinkStale(ctx context.Context, on *subvol, parent fop.GFID, name string) error {
	_, err := fop.Call(ctx, on, &fop.Unlink{
		Header: asSu(fop.NewDict(
			fop.Pair{Key: keyUnlinkLinkto, Val: fop.Int(1)},
			fop.Pair{Key: keyUnlinkOpenFd, Val: fop.Int(1)})),
		Parent: parent, Name: name})
	return err
}

// shown takes from the mode of a file what a migration puts there.
func shown(st *fop.Iatt) {
	if st.IsRegular() && st.Mode&phase1 == phase1 {
		st.Mode &^= phase1
	}
}
