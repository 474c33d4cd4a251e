//go:build !linux

package rpc

import (
	"net"
	"syscall"
	"time"
)

// Other systems have no such limit for a single connection; the keep-alive
// and the ping take its place.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }

func reservedPorts() []portRange { return nil }

// inputWaits is a hint for the server; elsewhere its watchdog must do.
func inputWaits(syscall.RawConn) bool { return false }
