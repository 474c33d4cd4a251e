// Package fuse is the native mount: a server for the Linux kernel's FUSE
// protocol over one volume.
//
//	s, err := fuse.Mount(ctx, fuse.Config{Session: session, Dir: "/mnt", Source: "server1:/data"})
//	if err != nil { … names the directory or the brick in the way … }
//	err = s.Wait() // until somebody unmounts
//
// Requests come with the numbers of inodes, which are ours (nodes), and go down
// as GFIDs through internal/volume; names travel one at a time and no path is
// ever put together. What the kernel caches is all that this package caches: the
// translators of the volume's graph do the rest.
//
// # What it promises
//
//   - A node lives from the reply that names it to the kernel's last FORGET. The
//     counts are exact; LRULimit bounds how many nodes the kernel is left with
//     that nobody uses.
//   - What another client changed is seen once the timeouts of Config are over,
//     and at once where bricks send upcalls.
//   - An error of a write that was put off comes back from the next write, fsync
//     or close of the file.
//   - Without bricks every request fails with ENOTCONN; with them back the mount
//     goes on.
//   - Unmount leaves no goroutine and no inode behind. If this process dies, the
//     kernel fails what was under way.
//
// # Terms
//
// A node is the kernel's inode, a handle an open file or directory. A request
// comes from the kernel by one of two transports: read(2) on /dev/fuse, or a
// ring per processor (FUSE over io_uring, Linux 6.14).
//
// Read next: server_linux.go for the life of a mount, bridge_linux.go for the
// way of a request, nodes_linux.go for the table of inodes.
package fuse
