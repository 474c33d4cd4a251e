// Package posix checks a mounted file system against the rules of POSIX and of
// Linux: thousands of calls, their errors, and what they leave behind.
//
//	go test ./test/posix -run TestMount -args -dir /mnt/x
//
// runs it as root on any directory of any file system, and [Run] does so from
// other tests, on a mount that they made. It passes on ext4 and on XFS, so what
// it asks for is what the kernel does, not what somebody thinks it should.
//
// # How it works
//
// A chapter (see chapters in suite_linux.go) is a test of its own, in a
// directory of its own, on an operating-system thread of its own: the thread has
// its own working directory, umask and credentials (env.as makes it another
// user for a while), and signals do not reach it. All is done by system calls
// without a library between. Where another process is needed, as for locks, the
// test binary starts itself again (child_linux.go).
//
// The rules that are the same for all calls that take a path (missing and
// forbidden directories, loops, lengths, read-only mounts, bad pointers) are
// written once, in paths_linux.go, over the table of calls in calls_linux.go.
//
// # Beside it
//
// The package fsx below this one compares random operations on one file with a
// model in memory. The tests of this package (posix_linux_test.go and on) run
// both, and workloads as people have them, on mounts of Wythe and of GlusterFS.
package posix
