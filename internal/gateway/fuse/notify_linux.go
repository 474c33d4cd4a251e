package fuse

import (
	"encoding/binary"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/wythefs/wythe/internal/fop"
)

// notifier tells the kernel what it must not believe any more. Telling can wait
// for locks of the kernel's that requests under way hold, and which their replies
// release: so a goroutine of its own does it, and nobody waits.
type notifier struct {
	b *bridge

	mu     sync.Mutex
	queue  []note
	queued map[note]bool // what is in queue, but for prunes
	prunes int           // in queue
	more   *sync.Cond
	closed bool

	write func([]byte) error
	minor uint32 // of the kernel's protocol
	done  chan struct{}
}

// note is one thing to tell.
type note struct {
	kind noteKind
	id   uint64
	name string
}

type noteKind uint8

const (
	noteAttr     noteKind = iota // attributes of id are old
	noteData                     // so are its pages
	noteEntry                    // id has no name "name" any more, or another object has it
	noteChildren                 // names in id are old
	notePrune                    // id is not needed
	noteAll                      // everything is old
)

// Notification codes and the protocol's minor version that brought them.
const (
	codeInvalInode = 2
	codeInvalEntry = 3
	codeIncEpoch   = 8
	codePrune      = 9

	minorIncEpoch = 44
	minorPrune    = 45
)

// pruneBatch is how many nodes one message gives back.
const pruneBatch = 256

func newNotifier(b *bridge) *notifier {
	n := &notifier{b: b, queued: make(map[note]bool), done: make(chan struct{})}
	n.more = sync.NewCond(&n.mu)
	return n
}

// start begins to write what is queued.
func (n *notifier) start(minor uint32, write func([]byte) error) {
	n.minor, n.write = minor, write
	go n.run()
}

// stop drops what is queued and waits for what is being written.
func (n *notifier) stop() {
	n.mu.Lock()
	n.closed = true
	n.more.Broadcast()
	n.mu.Unlock()
	<-n.done
}

func (n *notifier) add(x note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.queued[x] {
		return
	}
	if x.kind == notePrune {
		n.prunes++
	}
	n.queued[x] = true
	n.queue = append(n.queue, x)
	n.more.Signal()
}

// attr and data have the kernel ask again for what it knows of a node.
func (n *notifier) attr(x *node) { n.add(note{kind: noteAttr, id: x.id}) }
func (n *notifier) data(x *node) { n.add(note{kind: noteData, id: x.id}) }

// prune asks for a node back.
func (n *notifier) prune(x *node) {
	if limit := n.b.cfg.InvalidateLimit; limit > 0 {
		n.mu.Lock()
		full := n.prunes >= limit
		n.mu.Unlock()
		if full {
			x.unask()
			return
		}
	}
	n.add(note{kind: notePrune, id: x.id})
}

// all has the kernel ask again for everything.
func (n *notifier) all() { n.add(note{kind: noteAll}) }

func (n *notifier) run() {
	defer close(n.done)
	for {
		n.mu.Lock()
		for len(n.queue) == 0 && !n.closed {
			n.more.Wait()
		}
		if n.closed {
			n.mu.Unlock()
			return
		}
		queue := n.queue
		n.queue, n.prunes = nil, 0
		clear(n.queued)
		n.mu.Unlock()
		n.tell(queue)
	}
}

func (n *notifier) tell(queue []note) {
	var prune []uint64
	for _, x := range queue {
		switch x.kind {
		case noteAttr:
			n.inode(x.id, -1)
		case noteData:
			n.inode(x.id, 0)
		case noteEntry:
			n.entry(x.id, x.name, 0)
		case noteChildren:
			n.children(x.id)
		case notePrune:
			prune = append(prune, x.id)
		case noteAll:
			n.epoch()
			n.b.nodes.each(func(x *node) { n.inode(x.id, 0) })
			n.inode(fuse.FUSE_ROOT_ID, -1)
		}
	}
	for len(prune) > 0 {
		k := min(len(prune), pruneBatch)
		n.giveBack(prune[:k])
		prune = prune[k:]
	}
}

func message(code int32, fields ...uint64) []byte {
	m := make([]byte, 16, 16+8*len(fields))
	binary.NativeEndian.PutUint32(m[4:], uint32(code))
	for _, f := range fields {
		m = binary.NativeEndian.AppendUint64(m, f)
	}
	return m
}

func (n *notifier) send(m []byte) bool {
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	// ENOENT is the usual error: the kernel knows nothing of what it is told to
	// forget.
	return n.write(m) == nil
}

// inode has attributes asked for again, and with off 0 drops the pages.
func (n *notifier) inode(id uint64, off int64) {
	n.send(message(codeInvalInode, id, uint64(off), 0))
}

// entry has a name looked up again; with expire it stays usable until then.
func (n *notifier) entry(parent uint64, name string, flags uint32) {
	m := message(codeInvalEntry, parent)
	m = binary.NativeEndian.AppendUint32(m, uint32(len(name)))
	m = binary.NativeEndian.AppendUint32(m, flags)
	m = append(m, name...)
	n.send(append(m, 0))
}

// epoch has all names looked up again, and reports whether the kernel can.
func (n *notifier) epoch() bool {
	return n.minor >= minorIncEpoch && n.send(message(codeIncEpoch))
}

// children has the names in a directory looked up again. Only the kernel knows
// which names do not exist, so if it keeps those, too, all names must go.
func (n *notifier) children(dir uint64) {
	if n.b.cfg.NegativeTimeout > 0 && n.epoch() {
		return
	}
	n.b.nodes.each(func(x *node) {
		if parent, name := x.entry(); parent == dir && name != "" {
			n.entry(dir, name, fuse.EXPIRE_ONLY)
		}
	})
}

// giveBack has the kernel forget nodes that nobody uses.
func (n *notifier) giveBack(ids []uint64) {
	if n.minor >= minorPrune {
		m := message(codePrune, uint64(len(ids)), 0)
		for _, id := range ids {
			m = binary.NativeEndian.AppendUint64(m, id)
		}
		if n.send(m) {
			return
		}
	}
	for _, id := range ids {
		if x := n.b.nodes.get(id); x != nil {
			if parent, name := x.entry(); name != "" {
				n.entry(parent, name, 0)
			}
		}
	}
}

// upcall hears from a brick what another client did.
func (b *bridge) upcall(u *fop.Upcall) {
	if u.Kind != fop.UpcallInvalidate {
		return
	}
	for _, g := range [...]fop.GFID{u.Parent.GFID, u.OldParent.GFID} {
		if n := b.nodes.find(g); n != nil {
			b.namesChanged(n)
		}
	}
	n := b.nodes.find(u.GFID)
	if n == nil {
		return
	}
	b.touch(n)
	isDir := n.mode.Load()&fop.ModeFmt == fop.ModeDir
	switch {
	case isDir && u.Flags&(fop.InvalTimes|fop.InvalParentTimes|fop.InvalNlink|fop.InvalRename|fop.InvalForget) != 0:
		b.namesChanged(n)
	case !isDir && u.Flags&(fop.InvalSize|fop.InvalTimes|fop.InvalForget) != 0:
		b.notes.data(n)
	default:
		b.notes.attr(n)
	}
	if u.Flags&(fop.InvalNlink|fop.InvalRename|fop.InvalForget) != 0 {
		if parent, name := n.entry(); name != "" {
			b.notes.add(note{kind: noteEntry, id: parent, name: name})
		}
	}
}

func (b *bridge) namesChanged(dir *node) {
	b.touch(dir)
	b.notes.attr(dir)
	b.notes.add(note{kind: noteChildren, id: dir.id})
}

// distrust has everything asked for again: notices of bricks may have been
// missed.
func (b *bridge) distrust() {
	b.changes.Add(1)
	b.notes.all()
}
