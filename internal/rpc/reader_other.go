//go:build !linux

package rpc

import "net"

// A plainReader reads a connection.
type plainReader struct{ conn net.Conn }

func (p *plainReader) init(conn net.Conn)           { p.conn = conn }
func (p *plainReader) Read(buf []byte) (int, error) { return p.conn.Read(buf) }
