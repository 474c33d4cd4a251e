// Package mdcache is the translator "performance/md-cache" (volume option
// performance.stat-prefetch; GlusterFS 10.3, xlators/performance/md-cache): it
// answers LOOKUP, STAT, FSTAT and some GETXATTR from what replies told before.
//
// What is remembered, for md-cache-timeout:
//
//   - attributes, by gfid, from every reply that has all of them;
//   - which name leads to which gfid, from LOOKUP, READDIRP and what makes
//     entries. GlusterFS has this in its inode table; here a lookup by name is
//     answered for those credentials only with which the name was looked up, for
//     who may pass a directory is the brick's decision;
//   - extended attributes of the names that the options select, also that there
//     is none. A name that somebody asked for once is asked for along with every
//     lookup from then on;
//   - with md-cache-statfs, the figures of the file system.
//
// # What it promises
//
//   - What this client changes it sees at once. While a change is under way
//     nothing about its object is served.
//   - What is served is never older than what was seen before, in whatever order
//     replies come; see inodes.Version, which decides. Where the order cannot be
//     told, nothing is served.
//   - What others change is seen after md-cache-timeout, counted from when the
//     request was sent, or when a brick tells of it (EventUpcall), which it does
//     with features.cache-invalidation. When notices may have been lost, because
//     a connection was, everything is forgotten.
//   - The memory is bounded: maxObjects objects and maxNames names, those least
//     recently used go first.
//
// An unlink, or a rename onto a name, changes an object that the request does not
// name: the link count and ctime of what the name led to. That is known from the
// names, also from those that are too old to be served; where it is not, all
// attributes are forgotten.
//
// With features.cache-invalidation the option cache-invalidation asks bricks to
// tell of extended attributes too.
//
// # Locks
//
// Each object and each of the shards of names has a mutex. No two of them are
// held at once, and none while a child or a parent is called.
//
// Read next: mdcache.go, which fop does what; object.go, the attributes; names.go.
package mdcache
