//go:build !linux

package gfapi

// systemFlags are those flags of OpenFile that only package syscall has.
func systemFlags(int) uint32 { return 0 }
