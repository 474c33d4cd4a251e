//go:build linux && cgo

// Command engine is the inside of the C library libgfapi.so.0, built as the
// shared library libwythe-gfapi.so: package capi says how the two fit together.
//
// Each function of the library arrives as a *call with its number and arguments
// (enter.go) and is carried out by the method of its name, glfsOpen and so on.
// Those in the table quick answer on the thread of the caller, because they never
// wait; all others run in a goroutine of their own.
//
// What it promises:
//
//   - No argument makes it crash or hang. Handles are numbers, not addresses
//     (handles.go); whatever is no handle of this process, or not any more, gets
//     EINVAL as a volume or object and EBADF as a file. Only buffers and strings
//     are believed.
//   - Errors are errnos; functions leave 0 in errno when all went well.
//   - What was found wrong in GlusterFS 10.3 and nobody can depend on is not
//     imitated: files opened for reading cannot be written, UTIME_NOW and
//     UTIME_OMIT mean what they say, directories of glfs_open can be listed, and
//     glfs_fini does not take ten seconds.
//
// Read next: enter.go, volume.go for glfs_t, files.go for glfs_fd_t, handle.go
// for glfs_object_t.
package main

func main() {}
