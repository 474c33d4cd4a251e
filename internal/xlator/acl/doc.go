// Package acl is the translator "features/access-control" of a brick: it decides
// who may do what, by owner, mode and POSIX ACLs, and lets new objects inherit
// the default ACL of their directory.
//
// Requests of uid 0 (or the uid of option super-uid) and of GlusterFS's own
// daemons (negative pids) pass unasked. For all others the rules of GlusterFS
// 10.3 hold: see check in check.go, one case per fop. Reads and writes are not
// looked at again after the open, except for clients that say they are an NFS
// server (pid 1), which have no opens.
//
// What is known of an object (uid, gid, mode, both ACLs) is kept in a bounded
// cache by GFID. It is filled from lookups on behalf of ordinary users, or by a
// lookup of its own, and forgotten whenever a fop changes it; a filling that
// overlaps with a change is thrown away. What changes a brick behind its back is
// seen at the next lookup.
//
// On disk and on the wire an ACL is the xattr system.posix_acl_access or
// system.posix_acl_default: le32 version 2, then per entry le16 tag, le16
// permissions and le32 id. The text form is the business of storage.
//
// Lock order: the mutex of a cache shard is the only one; nothing is called under
// it.
//
// Read next: entry.go (ACLs), permit.go (the decision), check.go (fops), cache.go.
package acl
