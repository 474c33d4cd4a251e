// Package brickside is the registry of the translators of bricks, on Linux. It
// is apart from package clientside so that programs that only are clients bring
// no code of bricks along.
//
// Read next internal/graph, which builds stacks from it.
package brickside
