// Package interop has the tests in which Wythe and the distribution's GlusterFS
// 10.3 meet, on either side of a connection and on either side of a disk.
//
//   - stream_linux_test.go: one random stream of operations through {our client,
//     real FUSE client} × {our brick, real brick} must have the same outcomes and
//     leave the same brick behind.
//   - together_linux_test.go: a real client and ours at work at once under locks.
//   - handover_linux_test.go: a brick directory goes back and forth between a real
//     brick and ours.
//   - shapestream_linux_test.go: the streams on volumes of several bricks (2 × 2,
//     three copies, two and an arbiter, three subvolumes), with both clients and
//     with both mounts at once; volumetree_linux_test.go tells what their bricks must agree in.
//   - shapehandover_linux_test.go: a 2 × 2 volume goes back and forth, and the
//     real self-heal daemon finds nothing to heal.
//   - volumetraces_linux_test.go: the calls of both clients on such volumes, in
//     rounds: what an application waits for is never more than with libgfapi.
//   - frontends_linux_test.go: the stream through our mount, the Go package, a C
//     program over libgfapi.so.0 and the Python package, on volumes of ours.
//   - traces_linux_test.go: which calls each client sends for everyday operations.
//   - mountlocks_linux_test.go: locks of fcntl and flock that are taken through one
//     mount and seen, waited for and given up through the other.
//   - virtual_linux_test.go: what is made up for those who ask: attributes, .gfid,
//     .meta and statedumps, asked for through both mounts.
//
// # How a failure is reproduced
//
// The stream tests print the seed. The same stream again, longer or more of them:
//
//	go test ./test/interop -run Stream -stream.seed 17 -stream.ops 5000 -v
//	go test ./test/interop -run Stream -stream.seeds 100 -stream.ops 2000
//
//	go test ./test/interop -run 'TestShapes$' -shapes 2x2 -shapes.seeds 10 -v
//	go test ./test/interop -run TestFrontEnds -fronts.seeds 20 -fronts.ops 2000
//	go test ./test/interop -run TestVolumeTraces -traces.self
//
// # The processes of a test
//
// Programs of the distribution run in a testenv.Node. What does system calls on
// the mount point of a real client must run in there as well, because the kernel
// tells a FUSE client process ids as its own namespace counts them, and refuses
// locks of processes that it does not see. Therefore the test binary starts
// itself again in the Node, as a worker that takes operations on its standard
// input (worker_linux_test.go).
//
// # What is not compared, and why
//
//   - Times, but for those that the stream sets itself: no two runs are at the
//     same time.
//   - GFIDs, which are random. That each object has one, that its handle is there
//     and of the right kind, and that names and values derived from it (gfid2path)
//     fit it, is compared.
//   - What the Linux kernel decides before a FUSE client hears of it. The stream
//     has no such operations; generate_linux_test.go lists them.
//   - With both clients at once: a client of 10.3 may go on looking in the old
//     place for what the other client has moved, though its directories list it
//     (seed 3 on 2 × 2 shows that). The seed that CI uses has no such case.
//   - Attributes of a directory that a client of 10.3 heals while another request
//     of its own changes them, by chance (seed 5 on three subvolumes).
//   - Attributes that only one client asks for by itself, see ignoredXattrs.
package interop
