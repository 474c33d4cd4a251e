package distribute

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// extentSize is the length of an extent on disk.
const extentSize = 16

// extent is the part of the ring of hashes that one subvolume has in one
// directory, as the xattr trusted.glusterfs.dht says it: four big-endian 32-bit
// numbers.
type extent struct {
	commit      uint32 // hash of the last rebalance; 1: names may be anywhere
	kind        uint32 // 0: by Davies-Meyer hash; 1: the same, set by hand
	start, stop uint32 // stop is part of it; 0 to 0 is no hash at all
}

// Kinds of layout.
const (
	kindHash = 0
	kindUser = 1 // set by hand; nobody changes it
)

// anywhere is the commit hash of a directory whose names may be off their
// hashed subvolume without a linkto.
const anywhere = 1

// whole is all of the ring.
var whole = extent{stop: 0xffffffff}

func (e extent) append(b []byte) []byte {
	for _, n := range [...]uint32{e.commit, e.kind, e.start, e.stop} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

// parseExtent reads what stands on disk. EINVAL if it has another length or is
// of an unknown kind.
func parseExtent(b []byte) (extent, error) {
	if len(b) != extentSize {
		return extent{}, fmt.Errorf("a layout of %d bytes: %w", len(b), syscall.EINVAL)
	}
	e := extent{
		commit: binary.BigEndian.Uint32(b),
		kind:   binary.BigEndian.Uint32(b[4:]),
		start:  binary.BigEndian.Uint32(b[8:]),
		stop:   binary.BigEndian.Uint32(b[12:]),
	}
	if e.kind > kindUser {
		return extent{}, fmt.Errorf("a layout of kind %d: %w", e.kind, syscall.EINVAL)
	}
	return e, nil
}

func (e extent) empty() bool { return e.start == 0 && e.stop == 0 }

func (e extent) bytes() []byte { return e.append(make([]byte, 0, extentSize)) }

// errNone marks an entry of which nothing has been heard.
const errNone = syscall.Errno(0xffff)

// entry is what one subvolume has of a directory.
type entry struct {
	sub *subvol
	err syscall.Errno // of the lookup there
	extent
}

// layout is how a directory is spread. It does not change once published,
// but for the counters.
type layout struct {
	entries []entry // by start, those without a range first
	commit  uint32  // that of all entries, 1 if they differ
	kind    uint32
	gen     uint64 // value of distribute.ups when it was read

	unhashed atomic.Uint32 // files that readdirp saw off their hashed subvolume
	checked  atomic.Int64  // when it was last seen on the subvolumes, Unix nanoseconds
}

// find returns the entry whose range holds hash, nil if none does.
func (l *layout) find(hash uint32) *entry {
	for i := range l.entries {
		if e := &l.entries[i]; e.start <= hash && hash <= e.stop {
			return e
		}
	}
	return nil
}

// of returns the entry of a subvolume.
func (l *layout) of(s *subvol) *entry {
	for i := range l.entries {
		if l.entries[i].sub == s {
			return &l.entries[i]
		}
	}
	return nil
}

// disk is the bytes that s has on disk for this layout.
func (l *layout) disk(s *subvol) []byte {
	e := l.of(s)
	if e == nil {
		return make([]byte, extentSize)
	}
	x := e.extent
	x.kind = l.kind
	return x.bytes()
}

// newLayout is a layout of which nothing has been heard.
func newLayout(subs []*subvol) *layout {
	l := &layout{entries: make([]entry, len(subs))}
	for i, s := range subs {
		l.entries[i] = entry{sub: s, err: errNone}
	}
	return l
}

// merge puts in what s answered to a lookup: an error, or keys with or without
// a layout. bad tells of a layout that is none; the entry stays as unheard of.
// Before sort only.
func (l *layout) merge(s *subvol, err error, x *fop.Dict) (bad error) {
	e := l.of(s)
	if err != nil {
		e.err = fop.Errno(err)
		return nil
	}
	v, ok := x.Get(fop.XattrDHT)
	if !ok {
		e.err = 0
		return nil
	}
	have, bad := parseExtent(v.Bytes())
	if bad != nil {
		return bad
	}
	e.err, e.extent = 0, have
	l.kind = max(l.kind, have.kind)
	switch l.commit {
	case 0:
		l.commit = have.commit
	case have.commit:
	default:
		l.commit = anywhere
	}
	return nil
}

// sort puts entries without a range first, then by start.
func (l *layout) sort() {
	slices.SortStableFunc(l.entries, func(a, b entry) int {
		switch {
		case a.empty() != b.empty():
			if a.empty() {
				return -1
			}
			return 1
		default:
			return cmp.Compare(a.start, b.start)
		}
	})
}

// health counts what is amiss with a layout.
type health struct {
	missing int // subvolumes that answered ENOENT or ESTALE, or a layout that is none
	down    int // … ENOTCONN
	misc    int // … any other error but ENOSPC
	holes   int
	overlap int
}

// whole reports whether every hash has one subvolume.
func (h health) whole() bool { return h.holes == 0 && h.overlap == 0 }

// fine reports whether there is nothing to heal.
func (h health) fine() bool { return h.whole() && h.missing == 0 }

// stuck reports whether healing must wait.
func (h health) stuck() bool { return h.down > 0 || h.misc > 0 }

// health examines a sorted layout.
func (l *layout) health() (h health) {
	if len(l.entries) == 0 {
		return health{holes: 1}
	}
	last := l.entries[0].start - 1
	prev, any := last, false
	for _, e := range l.entries {
		switch e.err {
		case 0:
		case errNone, syscall.ENOENT, syscall.ESTALE:
			h.missing++
			continue
		case syscall.ENOTCONN:
			h.down++
			continue
		case syscall.ENOSPC:
			continue
		default:
			h.misc++
			continue
		}
		if e.start == e.stop {
			continue
		}
		any = true
		switch {
		case prev+1 < e.start:
			h.holes++
		case prev+1 > e.start:
			h.overlap++
		}
		prev = e.stop
	}
	if prev != last || !any {
		h.holes++
	}
	return h
}

// String is for logs and tests: "v-client-0 00000000-7ffffffe, …".
func (l *layout) String() string {
	var b strings.Builder
	for i, e := range l.entries {
		if i > 0 {
			b.WriteString(", ")
		}
		switch {
		case e.err == errNone:
			fmt.Fprintf(&b, "%s unheard", e.sub.name)
		case e.err != 0:
			fmt.Fprintf(&b, "%s %v", e.sub.name, e.err)
		default:
			fmt.Fprintf(&b, "%s %08x-%08x", e.sub.name, e.start, e.stop)
		}
	}
	return b.String()
}

// hashed returns the subvolume that the layout of the directory gives to a
// name, nil if none has its hash.
func (d *distribute) hashed(l *layout, name string) *subvol {
	if e := l.find(fop.NameHash(d.munge(name))); e != nil {
		return e.sub
	}
	return nil
}
