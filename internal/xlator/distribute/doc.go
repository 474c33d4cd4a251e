// Package distribute is the translator "cluster/distribute" (GlusterFS 10.3,
// xlators/cluster/dht): it spreads the names of a directory over its
// subvolumes. Bricks, clients and rebalance processes of GlusterFS may work on
// the same volume at the same time.
//
// # Terms
//
// A directory exists on every subvolume, with one gfid. Each of them bears in
// the xattr trusted.glusterfs.dht the range of hashes that it serves in this
// directory; all together are the directory's layout. The hashed subvolume of
// a name is the one whose range holds the hash of the name (hash.go, munge.go).
// A file exists on one subvolume, its cached subvolume. If that is not the
// hashed one, the hashed one has a linkto: an empty file of mode 01000 with the
// same name and gfid, whose xattr trusted.glusterfs.dht.linkto names the cached
// one (linkto.go). The metadata server (mds) of a directory is the subvolume
// that was the hashed one when the directory was made; it has the xattr
// trusted.glusterfs.dht.mds, a counter that is negative while xattrs of the
// directory may differ between subvolumes (mds.go).
//
// # Invariants
//
//   - A linkto is there before its file has data elsewhere, and is removed
//     after it. Otherwise a client that trusts the hashed subvolume (see
//     below) would not find the file.
//   - A directory whose commit hash equals the volume's has every file at its
//     hashed subvolume or a linkto there. Only then may ENOENT of the hashed
//     subvolume be believed; in all other cases all subvolumes are asked.
//   - A stale linkto is only removed with the keys that make the brick check
//     that it is one and that nobody has it open.
//   - The layout of a directory is written by who makes the directory, while
//     nobody else can see all of it (mkdir.go), and afterwards only under its
//     layout lock, after reading it again (heal.go, fixlayout.go).
//   - What this package remembers of an object (inode.go) is a hint: losing it
//     costs a lookup, being wrong costs a fop that answers ENOENT, ESTALE or a
//     mode of 01000 and is done again elsewhere.
//   - Layouts in memory do not change once they are published.
//
// # Lock order
//
// On the bricks, the outer ones first:
//
//	inodelk on files, domain dht.file.migrate (rename), by subvolume name, then gfid
//	└ names: for each, by subvolume name, then parent gfid and name
//	  ├ inodelk read on the parent, domain dht.layout.heal
//	  └ entrylk on the name, domain dht.entry.sync
//
//	inodelk write on a directory, domain dht.layout.heal, by subvolume name
//
// Who holds the write lock on a layout takes no other lock, and who holds any
// lock does not wait for it: the two locks of one name can be asked for at once,
// and lookups under locks do not heal (withNameLocked in lock.go).
//
// In memory only object.mu is ever held, for no longer than it takes to copy a
// few words, and never across a request.
//
// # Where a fop goes
//
// where (inode.go) says whether an object is a file or a directory and which
// subvolumes have it; it asks them if this client has not met the object
// before, since a fop may come without a lookup before it. Fops on a file go to
// its cached subvolume (file.go), fops on a directory to all of them or to the
// mds.
//
// # Where this differs from GlusterFS
//
//   - A name whose hashed subvolume is down is looked up with ENOTCONN, not
//     ENOENT: an application shall not take it for gone. ENOENT stays where the
//     hashed subvolume itself says so.
//
//   - mkdir brings the layout along and so needs four round trips instead of
//     seven; rmdir looks for entries while it waits for its locks.
//
//   - A name that was a directory's when it was last looked up is looked up on
//     all subvolumes at once.
//
//   - Before a miss is believed, a layout that has not been seen for a second is
//     read again, and so is the volume's commit hash: callers do not look up
//     every directory on a path each time.
//
//   - mkdir and create need no lookup of the name before them. If the name turns
//     out to be taken on a subvolume that is not the hashed one, what was made
//     is removed again.
//
//   - Renames try all of their locks at once and wait in the order above only if
//     one is taken; unlocking is behind the answer. If RENAME fails on the new
//     name's hashed subvolume, the rename fails and is taken back, where
//     GlusterFS goes on (renameplan.go). What is done as root on the way is
//     checked to be the caller's right first.
//
//   - What was looked up, listed or made is known by name for a second
//     (names.go), so that unlink and rename need no lookup then.
//
//   - A chmod of a file that is being moved keeps the mark of that; a file opened
//     with O_TRUNC is cut at both places (follow.go, open.go).
//
//   - Listings fetch what comes next ahead, of the subvolume that is read and of
//     the four behind it, and do not use it once this client has changed anything
//     (readdir.go). Of a directory they tell gfid and type only: its times are the
//     latest of all subvolumes.
//
// On one subvolume GlusterFS lets nearly everything pass, and so does single.go.
//
// Read next: distribute.go, layout.go, lookup.go; then file.go for files, heal.go
// for directories.
package distribute
