//go:build linux && cgo

package main

import (
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

const defaultLogDir = "/var/log/glusterfs"

// logger is the log of a glfs_t; nobody gets it before glfs_set_logging.
type logger struct {
	*slog.Logger
	level slog.LevelVar
	out   logOutput
}

// logOutput writes to what was set last.
type logOutput struct {
	mu   sync.Mutex
	w    io.Writer
	file *os.File // to close
}

func (o *logOutput) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.w == nil {
		return len(b), nil
	}
	return o.w.Write(b)
}

func (o *logOutput) set(w io.Writer, file *os.File) {
	o.mu.Lock()
	old := o.file
	o.w, o.file = w, file
	o.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

func newLogger() *logger {
	l := &logger{}
	l.level.Set(levels[0])
	l.Logger = slog.New(slog.NewTextHandler(&l.out, &slog.HandlerOptions{Level: &l.level}))
	return l
}

// levels are those of gfapi, from NONE to TRACE.
var levels = [...]slog.Level{
	slog.LevelError + 100, slog.LevelError + 4, slog.LevelError + 4, slog.LevelError + 4, slog.LevelError,
	slog.LevelWarn, slog.LevelInfo + 2, slog.LevelInfo, slog.LevelDebug, slog.LevelDebug - 4,
}

// set has the log go to a file, or to standard error with "-". A level below 0
// leaves it as it is.
func (l *logger) set(name string, level int) error {
	if level >= len(levels) {
		return syscall.EINVAL
	}
	switch name {
	case "":
		return syscall.EINVAL
	case "-":
		l.out.set(stderr{}, nil)
	case os.DevNull:
		l.out.set(nil, nil)
	default:
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		l.out.set(f, f)
	}
	if level >= 0 {
		l.level.Set(levels[level])
	}
	return nil
}

func (l *logger) close() { l.out.set(nil, nil) }

// stderr is descriptor 2, whatever that is: a copy of it would keep a pipe open
// that the program closes.
type stderr struct{}

func (stderr) Write(b []byte) (int, error) { return syscall.Write(2, b) }

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

func pidText() string { return strconv.Itoa(os.Getpid()) }
