// Package capi holds libgfapi.so.0, the C library of a GlusterFS volume, as a
// drop-in for GlusterFS's own: programs that are linked with that one, such as
// fio, qemu, samba and nfs-ganesha, load this one in its place unchanged.
//
// It is two libraries. shim is libgfapi.so.0: C alone, 186 functions under their
// 25 versions, made from symbols.txt. engine is libwythe-gfapi.so: all of the
// work, in Go, over the same packages as gfapi. The shim loads the engine with
// the first glfs_new and, in a process that was forked after that, a second copy
// of it with the first glfs_new there: a Go runtime does not survive a fork, and
// does not start before it is needed.
//
// A call is a struct wythe_call on the stack of the caller. The shim gives it to
// the engine with all signals blocked and Go's signal stack in place of the
// thread's own, for handlers of the application must never run on a stack of
// Go's. The engine answers at once, or has a goroutine answer, and then the
// caller waits in C, on a futex, with signals as the application wants them.
//
//	make libgfapi                     # bin/lib/libgfapi.so.0 and its engine
//	make install-libgfapi DESTDIR=/x  # with headers and glusterfs-api.pc; part of make install
//	LD_LIBRARY_PATH=bin/lib fio …     # for example
//
// Environment: WYTHE_GFAPI_ENGINE is the path of the engine (else it is beside
// the shim); WYTHE_GFAPI_MODE=queue has threads of the application never enter
// Go, which costs some 30 µs per call.
//
// Read next: shim/shim.h, engine/main.go.
package capi

//go:generate go run ./gen
