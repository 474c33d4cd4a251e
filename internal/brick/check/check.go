// Package check inspects a brick that is not being served: every name, GFID,
// handle, back-pointer and extended attribute of it. It reports what either
// implementation, GlusterFS or this one, would refuse, hide or misread, and on
// request repairs what can be repaired without losing anybody's data.
//
// # What repair does and does not do
//
// It makes missing handles and back-pointers, points handles of directories to
// where the directories are, removes links and attributes that lead nowhere,
// and gives an object its GFID back when a handle still knows it. What has no
// name any more but a handle is moved to .glusterfs/wythe-lost, never deleted.
// Names of users are never made, changed or removed.
//
// An object without a GFID that nothing knows is left alone unless
// Options.NewGFIDs is set: the next lookup by a client gives it one, the same
// on all bricks, whereas one made up here would differ from that of the other
// bricks of a replicated volume. Such a problem is marked Heals.
//
// # Memory
//
// Two passes, over the names and over the handles. Remembered are objects with
// several names, those in trouble, and two numbers per directory of handles;
// a brick with millions of plain files takes a few megabytes.
//
// Read next: names_linux.go, handles_linux.go.
package check

import (
	"fmt"

	"github.com/wythefs/wythe/internal/fop"
)

// Kind is the kind of a problem.
type Kind string

// Kinds of problem.
const (
	BadRoot       Kind = "bad-root"        // the root's own attributes or handle
	NoGFID        Kind = "no-gfid"         // an object without GFID
	BadGFID       Kind = "bad-gfid"        // a GFID of wrong size, or one that is reserved
	DuplicateGFID Kind = "duplicate-gfid"  // two objects have the same
	NoHandle      Kind = "no-handle"       // cannot be found by GFID
	WrongHandle   Kind = "wrong-handle"    // the handle leads to something else
	StaleHandle   Kind = "stale-handle"    // a directory's handle that leads nowhere
	Orphan        Kind = "orphan"          // a handle whose object has no name
	BackPointer   Kind = "no-back-pointer" // gfid2path is missing
	ExtraPointer  Kind = "extra-pointer"   // gfid2path of a name that is not there
	LinkCount     Kind = "link-count"      // more or fewer links than names and handle
	BadTimes      Kind = "bad-times"       // malformed trusted.glusterfs.mdata
	BadACL        Kind = "bad-acl"         // malformed access control list
	Stray         Kind = "stray"           // does not belong where it is
	Unreadable    Kind = "unreadable"      // could not be inspected
)

// Problem is one thing that is wrong.
type Problem struct {
	Kind   Kind
	Path   string // from the brick's root
	GFID   fop.GFID
	Detail string
	Fixed  string // what repair did about it, "" for nothing
	Heals  bool   // the next lookup by a client will repair it
}

// String returns the problem in one line.
func (p Problem) String() string {
	s := fmt.Sprintf("%s: %s", p.Path, p.Kind)
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	if !p.GFID.IsZero() {
		s += " (gfid " + p.GFID.String() + ")"
	}
	switch {
	case p.Fixed != "":
		s += "; repaired: " + p.Fixed
	case p.Heals:
		s += "; the next lookup by a client repairs it"
	}
	return s
}

// Options say what Run shall do.
type Options struct {
	Repair bool
	// NewGFIDs lets Repair make up GFIDs for objects that have none. Right for
	// bricks whose objects are on no other brick, wrong for replicas.
	NewGFIDs bool
	// NoBackPointers accepts that gfid2path attributes are missing, as on bricks
	// with the option gfid2path off.
	NoBackPointers bool
	// Report, if set, is called for each problem as it is found.
	Report func(Problem)
}

// Summary counts what Run met.
type Summary struct {
	Dirs     int64 `json:"directories"` // their names
	Files    int64 `json:"files"`       // names of everything else
	Handles  int64 `json:"handles"`
	Problems int64 `json:"problems"`
	Fixed    int64 `json:"mended"`
	Heals    int64 `json:"heals"` // not fixed, but the next lookup will
}

// Left returns the number of problems that stay for a person to solve.
func (s Summary) Left() int64 { return s.Problems - s.Fixed - s.Heals }
