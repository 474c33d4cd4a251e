// Package index is the translator "features/index" of a brick: it keeps lists of
// the objects that some other brick may have to be healed from or to, so that the
// self-heal daemon need not crawl the whole volume.
//
// # On disk
//
// The lists are directories below option index-base (<brick>/.glusterfs/indices):
//
//	xattrop/<gfid>               a pending counter of the object is not zero
//	dirty/<gfid>                 its dirty counter is not zero
//	entry-changes/<gfid>/<name>  this name of the directory changed while a brick
//	                             was away
//
// Every entry is a hard link to an empty file of mode 0 beside it, called
// xattrop-<uuid>, dirty-<uuid> or entry-changes/entry-changes-<uuid>; each process
// makes its own on first need, and another one when the file system allows no more
// links. Base files of earlier processes go away once nothing links to them.
//
// # Promises
//
//   - An object is in the list before its counter is on disk, and leaves it after
//     the counter went to zero: a crash leaves at most an entry too many.
//   - Counter changes (Xattrop, Fxattrop that add) of one object are serialized.
//   - Clients see the lists as three directories with random gfids, which getxattr
//     tells, and can list them and remove entries.
//
// The answer to "is anything pending" (link-count in lookups) comes from a counter
// in memory, counted again whenever somebody opens the list.
//
// Lock order: the lock of an object (held across the child's xattrop), then
// store.mu, then Index.mu.
//
// Read next: store.go (the disk), index.go (counters), virtual.go (directories).
package index
