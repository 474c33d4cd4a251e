// Package mounter is the program around a FUSE mount: how it is asked for, what
// is refused before anything is mounted, and the life of the process that serves
// it. internal/gateway/fuse serves; this package is what GlusterFS has in
// mount.glusterfs and in the option parser of glusterfs.
//
// A mount can be asked for in three ways, and each of them ends in the command
// line of the second, which is what ps shows:
//
//	mount -t glusterfs -o acl host:/data /mnt        MountHelper: options.go, source.go
//	glusterfs --acl --volfile-server=host --volfile-id=/data /mnt
//	                                                 ClientMain: arguments.go
//	wythe mount --acl host:/data /mnt                Mount, from internal/cli
//
// What it promises:
//
//   - Every option of GlusterFS 10.3's mount helper and client is known. It is
//     honoured, or refused with the reason and what to do instead, or accepted
//     with one warning where it has no effect. A value that GlusterFS takes for
//     zero or drops in silence is refused.
//   - /proc/mounts shows type fuse.glusterfs and the source as it was given.
//   - Who mounts gets an exit status of 0 only after the root has answered
//     through the kernel; otherwise nothing stays mounted, no process is left, and
//     standard error says why, server by server.
//   - The process that serves ends when the mount is gone (umount, umount -l, an
//     aborted connection) and within a bounded time after SIGTERM or SIGINT,
//     whatever the servers do. SIGHUP opens the log anew, SIGUSR1 writes a
//     statedump.
//
// Go cannot fork; the process that stays is the same program executed once more,
// with pipes to who waits for it (daemon_linux.go).
//
// Read next: arguments.go for the table of all options, then client_linux.go for
// the process; docs/mounting.md is for users.
package mounter
