// Package cli is the command line for people: wythe ls, cat, put, up and so on.
// One file per command; root.go ties them together, target.go reads
// gluster:// addresses, out.go prints for people or, with --json, for programs.
//
// Exit codes: 0 done, 1 something failed (each failure is a line on standard
// error), 2 the command line was wrong, 3 the volume could not be reached.
package cli
