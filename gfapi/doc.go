// Package gfapi lets a Go program use a GlusterFS volume without mounting it:
// pure Go, no cgo, no privileges, on Linux, macOS and Windows. It speaks the
// protocol of GlusterFS 10, to Wythe's servers and to GlusterFS's own.
//
//	vol, err := gfapi.Mount(ctx, "10.7.1.99", "data")
//	if err != nil { … }
//	defer vol.Unmount()
//
//	err = vol.MkdirAll("north/wall", 0o755)
//	f, err := vol.Create("north/wall/motto.txt")
//	_, err = f.WriteString("Winter is coming.")
//	err = f.Close()
//
// A [Volume] has the methods of [os.Root], and some more; a [File] those of
// [os.File]. What you know of them holds here.
//
// # Paths
//
// Paths are separated by slashes on every system. They begin at the root of the
// volume, with or without a leading slash. ".." never leads above the root.
// Symbolic links are followed by this package: absolute ones lead to the root
// of the volume, not to that of the machine. A path may be of any length and
// depth; a single name has up to 255 bytes, none of them NUL.
//
// # Errors
//
// Errors are [*fs.PathError] or [*os.LinkError] with a [syscall.Errno] inside:
// errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrExist) and so on work,
// and so does errors.Is(err, syscall.ENOTEMPTY). What was used after Close or
// Unmount fails with [fs.ErrClosed].
//
// # Contexts, credentials, subtrees: views
//
// A view is a Volume that shares the mount but differs in one respect. Making
// one costs nothing.
//
//	vol.WithContext(ctx).ReadFile("big")             // gives up when ctx ends
//	vol.As(gfapi.Cred{UID: 1000, GID: 100}).Open("x") // as somebody else
//	home, err := vol.Sub("home/arya")                 // another root
//
// An open file keeps the context and the credentials of the view that opened
// it. The servers check permissions; who may claim to be whom is their
// configuration (root-squash, auth.allow), as with any GlusterFS client.
//
// # Concurrency and consistency
//
// All methods may be called from any number of goroutines. What a mount changes
// it sees at once. What others change it may see a second later: for so long a
// path may still lead where it led before another client moved a directory (see
// [WithEntryTimeout]), and the volume's performance translators may go on with
// attributes and contents of small files that they have. They are those of any
// GlusterFS client, and the volume's options (performance.stat-prefetch,
// performance.quick-read, performance.md-cache-timeout and so on) tune them and
// switch them off, also while it is mounted. [WithXlatorOption] does so for one
// mount:
//
//	gfapi.WithXlatorOption("*-md-cache", "pass-through", "on")
//
// A write is on the servers' disks after Sync.
//
// # Cost
//
// On a warm path Stat, Mkdir, Remove, Rename and ReadFile of a small file cost
// one round trip, and so does opening such a file, reading it and closing it;
// opening another costs two. What was looked at a moment ago costs none. Large
// transfers keep several requests of 1 MiB in flight: use big buffers, ReadFile,
// WriteFile or io.Copy, whose two directions File makes fast. [WithRoundTrips]
// shows what is sent.
//
// # Compatibility
//
// From version 1.0 on, what is exported here stays as it is within a major
// version: nothing is removed or changes its meaning. Structs may grow fields;
// give their fields by name.
package gfapi
