// Package client is the translator protocol/client: it carries fops to one brick
// over the network and hears the brick's callbacks.
//
// # Life
//
// Run connects, and connects again whenever the connection is lost, after 100 ms
// at first and 3 s at last. It asks the management daemon of the brick's host
// for the brick's port (unless remote-port is set), connects to the brick,
// introduces this client with SETVOLUME, opens all files again that are open
// here, acquires the posix locks on them again, and only then tells its parents
// ChildUp. When the connection ends they hear ChildDown; until the next ChildUp
// every fop fails at once with ENOTCONN. Attempts that fail are told as
// ChildConnecting, a refusal as AuthFailed, each with an error that names host,
// brick, reason and remedy.
//
// A brick that runs in the same process (xlator.Env.Local) is called directly.
//
// # Promises
//
//   - Do and Start send at once and never queue. Payload is not copied: that of
//     a write leaves from the caller's memory, that of a read with Into arrives
//     in it.
//   - An open file survives the loss of the connection. If a lock that was held
//     on it cannot be had again (somebody else may have changed the file in the
//     meantime), all that is done with the file fails with EBADFD from then on.
//     With strict-locks locks are not even asked for again.
//   - A fop whose context ends returns at once. What it may have acquired on the
//     brick by then, a lock or an open file, is given back when the reply comes.
//     The wait for a posix lock is taken from the brick's queue first, which may
//     take a round trip; if the lock was granted by then, the fop has succeeded.
//   - Locks that wait have no time limit but that of their context.
//
// # Locks
//
// Client.mu guards what is shared by all files; openFile.mu what belongs to one.
// openFile.mu may be held while waiting for the brick, Client.mu never.
// Order: openFile.mu before Client.mu.
//
// Read next: client.go (fops), connect.go (connections), file.go (open files).
package client
