// Package robust holds the tests of a hostile and unlucky user: wrong names,
// refused, silent and lying peers, malformed packets, full and read-only disks,
// processes killed at any moment, connections cut in the middle of a request,
// and configurations that do not fit together.
//
// What it asks of every failure: it comes within the deadline, names the thing
// and the remedy, carries the errno, costs the offender's own connection only,
// and leaves no goroutine behind. Servers are real: clusters of ours in this
// process or in one of their own, and the distribution's GlusterFS.
//
// Read next: harness_linux_test.go.
package robust
