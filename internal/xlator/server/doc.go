// Package server is the translator "protocol/server", the top of a brick: it
// accepts clients, authenticates them, and turns their messages into fops for
// the brick below. Several bricks can stand under one server; a client chooses
// one by name when it introduces itself (SETVOLUME).
//
// What it promises on the wire is what GlusterFS 10.3's bricks do: the programs
// GlusterFS 4.x v1 (1298437 version 400) and GlusterFS 3.3 (version 330), the
// brick's part of the handshake program, and callbacks; the order of checks,
// errnos and texts of SETVOLUME; numbers of open files from 0, the lowest free
// one first; replies that are complete when they fail. It deviates where the
// original is unsafe: unknown credentials are denied, names that could leave
// their directory are refused here, and no length word of a client makes it
// allocate more than the file below holds.
//
// # Sessions
//
// A session is one client identity on one brick: the process-uuid and the
// credential of its SETVOLUME. Its fop.Client is what locks belong to, and its
// table has the open files. Connections with the same identity share it. When
// the last of them ends, fops in flight are cancelled, open files are flushed
// and released, and the brick gets a fop.Disconnect. An open file is released
// on the brick when the client has released it and the last fop on it is done,
// so translators never see a Release beside another fop on the same Fd.
//
// # Where payload goes
//
// The data of a WRITE is the memory of the message as it was received; the data
// of a READ goes from a pooled buffer, filled by the brick, to the socket.
// Neither is copied.
//
// # Without a socket
//
// Local makes a client of a brick in the same process; the requests pass the
// same checks, but no codec.
//
// Locks: sessionTable.mu, session.mu, peer.mu and fdTable.mu; none is held while
// another is taken, nor while the brick works.
//
// Read next: server.go, then handshake.go, fops.go and session.go.
package server
