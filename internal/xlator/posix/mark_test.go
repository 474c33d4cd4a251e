//go:build linux

package posix

import "golang.org/x/sys/unix"

func sysWriteMark(s string) { unix.Write(1000000, []byte(s)) }
