// Package mounting tests mounts as users have them: through mount(8), lines of
// fstab, the programs mount.glusterfs and glusterfs, and wythe mount, on volumes of
// the distribution's GlusterFS and of wythe up, in machines within the machine.
//
// The test binary itself is the program: it is bound to /sbin/mount.glusterfs in
// the Node, and does what it is called.
//
//   - helper_linux_test.go: what is mounted, what /proc/mounts and ps show, what
//     is refused and how.
//   - life_linux_test.go: signals, kill -9, umount -l, changed volumes, servers
//     that go and come back.
//   - startup_linux_test.go: how long the programs need to start.
package mounting
