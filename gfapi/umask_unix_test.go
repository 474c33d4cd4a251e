//go:build unix

package gfapi

import "syscall"

func syscallUmask(mask int) int { return syscall.Umask(mask) }
