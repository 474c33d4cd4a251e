// Package quickread is the translator "performance/quick-read" (GlusterFS 10.3,
// xlators/performance/quick-read): the contents of small files come along with
// LOOKUP, and reads are answered from them. With performance/open-behind below,
// which puts the OPEN off, to open, read and close such a file is one round trip.
//
// A lookup asks for contents (key "glusterfs.content") up to max-file-size
//
//   - if the caller did so itself, which is his hint that he is going to read;
//   - or if it is likely to be worth it: GlusterFS always asks, so that looking at
//     the attributes of many files moves their contents too. Here a directory
//     whose files are looked at and not read is soon asked without, and with again
//     once its small files are read. See worth.go.
//
// # What it promises
//
//   - What is written through this client is never read in an older version:
//     contents are dropped before a change is sent, and what was on its way
//     meanwhile is not kept (inodes.Version decides).
//   - Contents are served for cache-timeout after they came, or after a reply
//     showed that mtime and size are still the same (with ctime-invalidation ctime
//     and size). A notice from a brick (EventUpcall) drops them at once.
//   - Contents that do not fit the size of the file are not used.
//   - No more than cache-size bytes of contents are kept, least recently used
//     first to go, and maxFiles records of files beside them.
//   - A read without an open file, or with O_DIRECT, goes to the brick.
//
// # Locks
//
// file.mu before store.mu. Nothing is held while a child is called.
//
// Read next: quickread.go, store.go.
package quickread
