// Package races checks what several clients of one volume see of each other
// while they work on the same names and blocks: it records who called what when
// and what the answer was, and asks a checker whether the answers could have come
// from a single directory, or a single block, that does one operation after the
// other (linearizability). The checker is porcupine.
//
//   - model_test.go: the directory and the block that answers are compared with.
//   - history_test.go: how histories are made and checked, on any set of clients.
//   - self_test.go: the checker finds what is wrong, on histories written by hand
//     and on directories and blocks that are broken on purpose.
//   - volumes_linux_test.go: clients of ours and GlusterFS's own, on volumes of
//     either, healthy all the time.
//
// # What is promised, and what is not
//
// The rules are GlusterFS's: where several clients of both kinds meet, nobody can
// promise more than the clumsiest of them. Two answers of GlusterFS's own client are
// let pass: that an unlink or rename of a name that is gone was done, and that what a
// rename moves does not exist, when the name stands for another file by then than the
// one that its kernel had looked up.
package races
