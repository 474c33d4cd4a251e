// Package locks is the translator "features/locks" of a brick: the locks that
// clients take on its objects, and nothing on disk.
//
// # Terms
//
// An object has three families of locks that do not see each other:
//
//   - posix locks (Lk): what applications take with fcntl(2) and flock(2). Ranges
//     of one owner merge and split.
//   - inodelks (Inodelk, Finodelk): byte ranges that translators of clients lock
//     for their transactions. Each domain (a string) is a world of its own; they
//     never merge, and one owner can hold the same range twice.
//   - entrylks (Entrylk, Fentrylk): names in a directory, or all of them, by
//     domain.
//
// An owner is a pair: the connected client, and the lock owner of the credential.
//
// # Promises
//
//   - A request that waits blocks in Do until it is granted, its context is over,
//     its client disconnects or its open file is flushed or released.
//   - Waiters are tried again first come, first served, after every change. For
//     inodelks and entrylks nobody overtakes a waiter whose request is in
//     conflict, except who already holds or awaits a lock of that domain: a
//     transaction that is under way can finish.
//   - Disconnect drops all locks of a client, and none can be taken for it later.
//   - Removing an object (unlink, rmdir, rename over it) waits for the inodelks
//     that other clients hold on it, and new ones wait for the removal.
//   - Who holds an inodelk or entrylk that another one waits for is told so by an
//     upcall, at most once per lock and notify-contention-delay. GlusterFS 10.3
//     tells it for inodelks only.
//   - A posix waiter is granted as soon as nothing is in conflict with it. 10.3
//     also lets it wait for locks that merely overlap.
//   - An object that does not exist cannot be locked: ESTALE.
//   - Requests with an unknown type or command end with EINVAL.
//
// State exists for objects with locks only. A fop that no lock concerns costs a
// look at its xdata.
//
// # Lock order
//
//	shard.mu     guards every object that hashes to the shard
//
// There is no second mutex below it, and none is held across a call of the child
// or an upcall.
//
// Read next: object.go (what an object holds), posixlk.go, domain.go (the
// decisions, free of I/O and goroutines), then locks.go (the fops around them).
package locks
