// Package rpc is SunRPC (RFC 5531) as GlusterFS speaks it: record-marked
// messages over TCP, TLS and unix stream sockets, with calls in both
// directions of one connection. It knows headers, credentials, errors and
// pings; it does not know file operations. What is inside a call is an
// Appender on the way out and a []byte on the way in; package proto gives
// them meaning.
//
// # Calling
//
// A [Client] is one connection. Many calls can be under way; replies may come
// in any order. Nobody owns the job of reading: the goroutine that waits for
// its reply reads the connection itself, hands other replies to their
// waiters, and passes the role on when its own reply has come (the
// leader/follower pattern). A call that is alone therefore costs no goroutine
// switch. Measured against a reader goroutine with channels this is what
// testdata/bench.txt shows.
//
// Sending never blocks and never delays: whoever finds nobody writing makes
// the system call, and what others queue in the meantime leaves with the next
// vectored write. Payload is not copied in either direction over plain
// sockets: a request's goes out from the caller's memory, and a reply's is
// read into Request.Into. Both belong to the caller again when Wait returns,
// whatever the reason it returned for.
//
// # Serving
//
// A [Server] has [Program]s of [Proc]s. Calls of one connection are executed
// concurrently and answered from any goroutine, in any order; when too many
// are under way, the connection is not read until some have been answered and
// their replies sent. GF-DUMP, with its ping, is built in.
//
// # Promises
//
// Nothing that a peer sends can do more than end its own connection. No
// length word makes us allocate what has not been sent. Contexts end a wait
// at once. Replies that do not mean success are a [*ReplyError]; the end of a
// connection is a [*ConnError] naming the server, and is ENOTCONN.
//
// # Locks
//
//	Client.mu ─ callbackQueue.mu        (neither held while reading or writing)
//	plainWriter.turn ─ writer.io ─ writer.mu
//	                      └─ Conn.mu
//	Server.mu, workers.mu               (leaves)
//
// Read next: client.go and pending.go for the leader/follower pattern,
// writer.go for batching, record.go for how records are put together.
package rpc
