// Package posix is the translator storage/posix: it keeps a volume's objects in
// a directory of a local file system, the brick, in the format of GlusterFS
// 10.3, so that either implementation can serve what the other wrote. It is the
// bottom of every brick's graph.
//
// # What it promises on disk
//
// The layout is described in package brickfs: every object carries its GFID, is
// reachable by a handle below .glusterfs, and knows its names. Entry operations
// go through the same steps in the same order as in GlusterFS, so that a crash
// between any two of them leaves what both implementations can repair:
//
//	creation: entry, owner, ACLs, back-pointer, xattrs of the request, GFID,
//	          handle, times of the object, times of the parent
//	removal:  handle, entry, times
//	rename:   (directory: handle away), rename(2), back-pointers, victim's
//	          handle away, (directory: handle at the new place), times
//
// What is found half done is completed by the next lookup or readdirp of the
// name: an entry without GFID gets the one that the client offers (or is
// reported missing for its first second, while its maker may still be at work),
// a missing handle or back-pointer is made again, a directory handle that leads
// elsewhere is set right. Nothing is fsynced unless the client asks.
//
// A file that is removed while open is kept as .glusterfs/unlink/GFID until its
// last close. Directories removed as a whole wait in .glusterfs/landfill for
// the janitor.
//
// # How objects are reached
//
// Requests name objects by GFID; there are no paths and no table of inodes
// above us. All system calls are relative to open directories, so that paths of
// any depth work and no symbolic link of a user is ever followed. A directory
// is reached through its own descriptor from a bounded cache (fdcache.go); a
// cold one is found by reading handles from child to parent. Everything else is
// reached through its hard-link handle. State per object, such as times and the
// number of open files, lives in a bounded table (inode.go); it is a cache of
// the disk, but for objects that are open.
//
// # Bricks without root
//
// Where trusted.* attributes cannot be set, or with the option wythe-rootless,
// owners, modes and device numbers are recorded in an attribute and access
// bits on disk always let the server itself in. See package brickfs.
//
// # Locks
//
// They nest in this order; none is held while another brick or a client is
// waited for:
//
//	entryLocks     names that an entry fop works on, two in order of stripe
//	inode.handle   handle and number of names of one object
//	inode.op       read-modify-write of xattrs and appends of one object
//	file.mu        position of one open directory
//	inode.mu       times and counts of one object
//	shard locks    of the two caches, leaves
//
// Read next: posix.go, resolve.go, birth.go, create.go.
package posix
