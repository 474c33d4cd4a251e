//go:build !linux

package rpc

import (
	"net"
	"time"
)

// Other systems have no such limit for a single connection; the keep-alive
// and the ping take its place.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }

func reservedPorts() []portRange { return nil }
