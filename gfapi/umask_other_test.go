//go:build !unix

package gfapi

func syscallUmask(int) int { return 0 }
