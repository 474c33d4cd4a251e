// Package testenv gives tests the real things that they need: programs of the
// distribution, file systems on loop devices, and private instances of
// GlusterFS.
//
// A test says what it needs with [Need] and [NeedRoot]. What is missing makes
// the test skip on a laptop and fail where WYTHE_TEST_ALL=1 is set, as in CI.
//
// # Machines within the machine (Linux, root)
//
// [Namespace] returns a [Node]: mount, process, network, host-name and IPC
// namespaces of its own, with an address (Node.IP, on the loopback device) and
// a host name, and with empty directories over /run, /var/lib/glusterd and
// /var/log/glusterfs. [Gluster] starts the real glusterd in a Node. Any number
// of them live side by side; [Beside] puts a second Node on the network of a
// first one, which is how a cluster of several peers is built.
//
//	g := testenv.Gluster(t)
//	brick := testenv.LoopFS(t, "xfs", 512) + "/brick"
//	g.Volume(t, "data", brick)
//	dir := g.Mount(t, "data")              // the real FUSE client; dir is usable from the test
//	c, err := g.Dial("tcp", g.Addr(24007)) // from the test into the Node
//	l, err := g.Listen("tcp", g.Addr(0))   // a server in the test that the Node's programs reach
//
// What connects by itself takes [Node.DialContext] as its dial function; any
// other system call that makes a socket runs inside [Node.Do]. Give addresses,
// not host names: names are looked up outside of the Node.
//
// # Paths
//
// A Node sees all of the test's file system, and [LoopFS] file systems under
// the same path as the test, whether they were mounted before the Node began
// or after. Mounts made inside a Node stay inside; [Node.Path] turns a path of
// the Node into one that the test can open. Node.Dir is the same directory on
// both sides: its run, lib and log are what the Node has at /run,
// /var/lib/glusterd and /var/log/glusterfs.
//
// # Nothing stays behind
//
// Cleanup runs through t.Cleanup. A test process that is killed or times out
// leaves nothing either: each Node's first process ends when the test's end of
// a pipe closes, and takes all of the Node with it; loop devices are of the
// kind that detach by themselves, their images have no name any more, and one
// watching shell per test process unmounts what is left under the scratch
// directory.
//
// Start reading at node_linux.go; test/interop is the main user.
package testenv
