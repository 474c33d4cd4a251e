package distribute

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/wythefs/wythe/internal/fop"
)

// Domains of the locks that clients and rebalance processes take on bricks.
const (
	domainLayout  = "dht.layout.heal"  // inodelk on a directory: its layout
	domainEntry   = "dht.entry.sync"   // entrylk on a name
	domainMigrate = "dht.file.migrate" // inodelk on a file: where its data is
)

var lastOwner atomic.Uint64

func init() {
	var b [8]byte
	rand.Read(b[:])
	lastOwner.Store(binary.LittleEndian.Uint64(b[:]))
}

// newOwner returns an owner of locks that this process has not used before.
func newOwner() string {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], lastOwner.Add(1))
	return string(b[:])
}

// inodelk is a lock on an object at one subvolume.
type inodelk struct {
	on     *subvol
	gfid   fop.GFID
	domain string
	kind   uint32 // fop.LockRead or fop.LockWrite
}

// entrylk is a lock on a name at one subvolume.
type entrylk struct {
	on     *subvol
	parent fop.GFID
	name   string
}

// locks are those that one transaction holds, with one owner.
type locks struct {
	d      *distribute
	owner  string
	nodes  []inodelk
	names  []entrylk
	waited bool // somebody else had one of them
}

func (d *distribute) newLocks() *locks { return &locks{d: d, owner: newOwner()} }

// inodelk takes locks one after the other, in the order of subvolume name and
// gfid. On failure those taken by this call are given back.
func (k *locks) inodelk(ctx context.Context, want ...inodelk) error {
	slices.SortStableFunc(want, func(a, b inodelk) int {
		if c := strings.Compare(a.on.name, b.on.name); c != 0 {
			return c
		}
		return slices.Compare(a.gfid[:], b.gfid[:])
	})
	had := len(k.nodes)
	for _, w := range want {
		if _, err := fop.Call(ctx, w.on, w.request(k.owner, w.kind, fop.LkSetWait)); err != nil {
			mine := &locks{d: k.d, owner: k.owner, nodes: k.nodes[had:]}
			mine.unlock(ctx)
			k.nodes = k.nodes[:had]
			return fmt.Errorf("lock %s of %v on %s: %w", w.domain, w.gfid, w.on.name, err)
		}
		k.nodes = append(k.nodes, w)
	}
	return nil
}

func (w inodelk) request(owner string, kind, cmd uint32) *fop.Inodelk {
	return &fop.Inodelk{Header: fop.Header{Cred: su(owner)}, GFID: w.gfid, Cmd: cmd, Type: kind,
		Flock: fop.Flock{Type: kind}, Domain: w.domain}
}

func (w entrylk) request(owner string, cmd uint32) *fop.Entrylk {
	return &fop.Entrylk{Header: fop.Header{Cred: su(owner)}, GFID: w.parent, Cmd: cmd, Type: fop.LockWrite,
		NameLen: 1, Name: w.name, Domain: domainEntry}
}

// less orders protected names: by subvolume, then by the text of the parent's
// gfid with the name behind it.
func (w entrylk) compare(v entrylk) int {
	return cmp.Or(strings.Compare(w.on.name, v.on.name),
		strings.Compare(w.parent.String()+w.name, v.parent.String()+v.name))
}

// protect takes the locks of names, each a read lock on the layout of the
// parent and a lock on the name, in their order. On failure those taken by this
// call are given back.
func (k *locks) protect(ctx context.Context, names ...entrylk) error {
	slices.SortStableFunc(names, entrylk.compare)
	mine := &locks{d: k.d, owner: k.owner}
	for _, w := range names {
		// Both at once: who holds a write lock on a layout never waits for a name.
		layout := inodelk{w.on, w.parent, domainLayout, fop.LockRead}
		p := w.on.Start(ctx, layout.request(k.owner, fop.LockRead, fop.LkSetWait))
		q := w.on.Start(ctx, w.request(k.owner, fop.EntrylkLock))
		_, perr := p.Wait()
		_, qerr := q.Wait()
		if perr == nil {
			mine.nodes = append(mine.nodes, layout)
		}
		if qerr == nil {
			mine.names = append(mine.names, w)
		}
		if err := cmp.Or(perr, qerr); err != nil {
			mine.unlock(ctx)
			return fmt.Errorf("lock of name %q on %s: %w", w.name, w.on.name, err)
		}
	}
	k.nodes = append(k.nodes, mine.nodes...)
	k.names = append(k.names, mine.names...)
	return nil
}

// unlock gives all locks back, names first, without waiting for the answers.
// The requests have left when it returns.
func (k *locks) unlock(ctx context.Context) {
	if len(k.names)+len(k.nodes) == 0 {
		return
	}
	ctx = context.WithoutCancel(ctx)
	pend := make([]fop.Pending, 0, len(k.names)+len(k.nodes))
	for _, w := range k.names {
		pend = append(pend, w.on.Start(ctx, w.request(k.owner, fop.EntrylkFree)))
	}
	for _, w := range k.nodes {
		pend = append(pend, w.on.Start(ctx, w.request(k.owner, fop.LockUnlock, fop.LkSet)))
	}
	k.names, k.nodes = nil, nil
	k.d.behind(ctx, func(context.Context) {
		for _, p := range pend {
			p.Wait()
		}
	})
}

// lockLayout takes the write lock on the layout of a directory at each of subs,
// in the order of their names.
func (d *distribute) lockLayout(ctx context.Context, dir fop.GFID, subs []*subvol) (*locks, error) {
	k := d.newLocks()
	want := make([]inodelk, len(subs))
	for i, s := range subs {
		want[i] = inodelk{s, dir, domainLayout, fop.LockWrite}
	}
	return k, k.inodelk(ctx, want...)
}

type lockedKey struct{}

// withNameLocked marks the context of a transaction that holds the locks of the
// name that it looks up, or of the directory that it reads: lookups must not
// take them themselves, and so leave alone what they would heal.
func withNameLocked(ctx context.Context) context.Context {
	return context.WithValue(ctx, lockedKey{}, true)
}

func nameLocked(ctx context.Context) bool { return ctx.Value(lockedKey{}) != nil }
