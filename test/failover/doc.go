// Package failover has the tests that show that replication never loses data:
// bricks are cut off or killed while a client works, and what the client leaves
// on the bricks, what it answers, and what the distribution's self-heal daemon
// makes of it later are compared with the distribution's own client.
//
//   - phases_linux_test.go: every kind of transaction, interrupted at every phase
//     on one, some or all bricks. The marks on the bricks must be those that the
//     real client leaves (testdata/marks), and after the heal all bricks are
//     alike and have what was acknowledged.
//   - kill_linux_test.go: the same with a brick process killed instead of its
//     connection cut.
//   - quorum_linux_test.go, splitbrain_linux_test.go: what fails, with which errno,
//     and what does not (testdata/answers).
//   - partition_linux_test.go: one client cannot reach a brick that the self-heal
//     daemon reaches, so that both work on the same names at the same time.
//   - torture_linux_test.go: bricks killed again and again, and a whole node cut
//     off, under load that two clients of each kind verify.
//
// # Where the cut is made
//
// Clients reach each brick through a relay (relay_linux_test.go) that decodes
// what passes. It cuts before a certain request reaches the brick, or after the
// brick has done it and before its reply reaches the client.
//
// # Recording
//
// The files below testdata were written by the real client, and are again with
//
//	go test ./test/failover -run Phases -failover.record
//
// A part of the matrix alone, or all of it where CI takes a sample:
//
//	go test ./test/failover -run Phases -failover.only 'rename.* fop' -v
//	go test ./test/failover -failover.long
//
// What the clients of a torture sent about names, and what the bricks answered,
// when it fails:
//
//	go test ./test/failover -run Torture/2x2 -failover.kills 50 -failover.history /tmp/h.txt -v
package failover
