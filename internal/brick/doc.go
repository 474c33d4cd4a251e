// Package brick runs bricks: a graph with protocol/server at its top, a
// listener, and, as a process of its own, all that glusterd expects of
// glusterfsd.
//
//	b, err := brick.Start(ctx, brick.Options{Volfile: file, Listener: l})
//	…
//	err = b.Wait() // nil after Close; otherwise why the brick ended
//
// Main is the process. It takes glusterfsd's arguments, gets its volfile from
// the management daemon and keeps the connection: when the volfile changes it is
// reconfigured, when the daemon restarts it signs in again. It goes to the
// background as glusterfsd does: whoever starts it waits until the brick can be
// found at the portmapper, and gets exit status 98 (EADDRINUSE) when the port
// is taken, upon which glusterd tries another. On the socket given with -S it
// answers the brick operations of glusterd.
//
// Signals: SIGTERM and SIGINT sign out and end the process after the calls under
// way, SIGHUP opens the log file anew, SIGUSR1 writes a statedump.
//
// When a brick's health check fails its process ends, as GlusterFS's does, so
// that clients and glusterd see it go.
//
// Several bricks can stand under one server, but attaching one to a running
// process (cluster.brick-multiplex) is refused.
//
// Read next: start_linux.go, main_linux.go, ops_linux.go.
package brick
