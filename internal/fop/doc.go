// Package fop is Wythe's vocabulary: the file operations ("fops") that every
// translator speaks, the plain structs that carry them, and the one interface
// between layers, Handler. It imports nothing of ours; everything else imports
// it.
//
// # The idea
//
// A fop is a request, a translator is a handler, as in net/http:
//
//	reply, err := fop.Call(ctx, next, &fop.Lookup{Parent: dir, Name: "motd"})
//
// Each fop is a pair of structs, Lookup and LookupReply, whose fields are the
// fields of the wire message in their order on the wire. Call ties the two
// together at compile time. A translator holds its children as Handlers,
// switches on the requests it cares about and passes all others on untouched.
//
// # Rules that every Handler keeps
//
//   - Do is synchronous and safe for concurrent use. It returns when the
//     operation is done, failed, or ctx is over. Lock requests that wait block
//     in Do.
//   - The memory of a request (names, Data, XData) belongs to the caller and
//     is valid until Do returns; who wants to keep it copies it. The memory of
//     a reply belongs to the caller after Do returned. A Read may bring its own
//     buffer in Into; then the reply's Data is a prefix of it.
//   - A translator that changes a request for its child works on a shallow
//     copy (q := *req) and on a clone of its XData; callers reuse requests.
//   - The error is a syscall.Errno, possibly wrapped (Errno unwraps it). nil
//     means op_ret >= 0 on the wire. A reply may come along with an error when
//     its XData matters.
//   - Fields named Fd may be nil: then the fop works on the object named by
//     GFID without an open file ("anonymous fd", -2 on the wire).
//   - Header.XData, ReplyHeader.XData and every other *Dict may be nil. All
//     reading methods of *Dict work on nil.
//
// # Names of objects
//
// An object is named by its GFID, an entry by the GFID of its directory and a
// basename. There are no paths below gfapi.
//
// Read next: handler.go, requests.go, then the smallest translator.
package fop
