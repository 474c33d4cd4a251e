// Package fsx checks one file of a mounted file system by random operations:
// what is read must be what a model in memory has.
//
//	go test ./test/posix -run TestFsxChild -args -fsx.ops 100000 -fsx.paths /mnt/a/file[,/mnt/b/file]
//
// reads, writes, truncates, maps, allocates, punches and zeroes ranges, copies,
// syncs, closes and opens again. With several paths to the same file, on mounts
// of one volume, the mounts take turns: whoever goes on opens the file anew, once
// what its mount remembers has become too old (Config.Pause).
//
// All comes from one seed. A failure is an error with the seed, the operation
// and the place where file and model differ, and the operations before it;
// Shrink finds a short list that still fails.
//
// It is our own design after the purpose of the well-known program fsx.
package fsx
