// Package writebehind is the translator "performance/write-behind" (GlusterFS
// 10.3, xlators/performance/write-behind): a write is answered before the child
// has done it, so that an application which waits for each write waits for
// memory only. Adjacent writes become one.
//
// # What it promises
//
//   - At most cache-size bytes of a file, in at most maxChunks pieces, are under
//     way unseen. A write that does not fit is answered when the child answers.
//   - Writes to overlapping ranges reach the child one after the other, in the
//     order of their requests; others may be under way at the same time. With
//     strict-write-ordering all keep their order. A write to a file opened with
//     O_APPEND overlaps everything: only the brick knows its offset.
//   - Whatever depends on what was written waits for it: reads of the range,
//     fops that report or change attributes or data of the file, locks (what is
//     written under one must be there for whoever locks next), fsync and flush.
//     Fops on a name, of which only the reply says what file it is, are put
//     right afterwards: a lookup is done again, the attributes in the replies of
//     Rename and Create are asked for, and those in a listing are left out
//     (zero, so that they are looked up).
//   - A write that was answered early has no attributes in its reply: Pre and
//     Post are zero, as in GlusterFS. A cache above takes that for "ask again".
//     The attributes of a Read's reply are zero while writes are under way.
//   - The error of a write that was answered early is reported by the next write
//     through the same open file, and by the next fsync or flush of each file
//     that had the object open for writing. If the last of them was released
//     before, it is logged, and the next opener is told. Until then the object is
//     remembered, up to maxLost of them.
//   - What a request brought is copied, into buffers that are used again, or, where
//     it is large and its memory can be held (fop.Write.Memory), sent from there.
//
// What is lost when the client dies is what GlusterFS loses: writes that were
// answered and neither synced nor flushed.
//
// Answered late are writes without an open file, through one opened with O_SYNC
// or O_DSYNC (with strict-O_DIRECT also O_DIRECT) or for reading only, those with
// XData, for it may ask for an answer, and large ones that the caller started
// without waiting (fop.Start): it has others under way already, and nothing is
// copied.
//
// A large one that does not fit goes out at once, if its memory can be held, and is
// answered as soon as it fits. Whoever writes one after the other so has one or two
// under way all the time. If it fails before that its writer is told, and nobody
// else.
//
// With flush-behind, a flush waits for the writes, but is itself done later,
// unless there are locks that it drops. Release is done after both.
//
// With resync-failed-syncs-after-fsync, writes that failed are kept and tried
// again with every write and fsync, until a flush; without it they are given up.
//
// # Order of locks
//
// file.mu, then observers.mu. Neither is held during a call of the child. The
// locks inside a table of inodes are taken under none of them.
//
// Read next: queue.go, which decides what is sent when and does no I/O; file.go
// for the I/O; fops.go for what waits for what.
package writebehind
