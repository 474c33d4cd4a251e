package mounter

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// logLevels are GlusterFS's, as near as slog comes to them.
var logLevels = map[string]slog.Level{
	"TRACE": slog.LevelDebug - 4, "DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo,
	"NOTICE": slog.LevelInfo + 2, "WARNING": slog.LevelWarn, "ERROR": slog.LevelError,
	"CRITICAL": slog.LevelError + 4, "ALERT": slog.LevelError + 8, "EMERG": slog.LevelError + 12,
	"NONE": slog.LevelError + 100,
}

func setLogLevel(a *Arguments, v string) error {
	if _, ok := logLevels[strings.ToUpper(v)]; !ok {
		return fmt.Errorf("%q is no log level; they are TRACE, DEBUG, INFO, NOTICE, WARNING, ERROR, CRITICAL and NONE", v)
	}
	a.LogLevel = strings.ToUpper(v)
	return nil
}

// levelLetter is the one by which tools filter the logs of GlusterFS.
func levelLetter(l slog.Level) byte {
	switch {
	case l < slog.LevelDebug:
		return 'T'
	case l < slog.LevelInfo:
		return 'D'
	case l < slog.LevelInfo+2:
		return 'I'
	case l < slog.LevelWarn:
		return 'N'
	case l < slog.LevelError:
		return 'W'
	case l < slog.LevelError+4:
		return 'E'
	}
	return 'C'
}

// lineHandler writes a log as GlusterFS does, one line a record:
//
//	[2026-11-22 14:13:40.123456 +0000] W [fetch.go:123:learn] 0-data: text [{key=value}, {key=value}]
//
// Where that has the number of a graph and the name of a translator, here stand 0
// and the volume.
type lineHandler struct {
	w      *lineWriter
	level  slog.Leveler
	local  bool   // local time
	domain string // of the record, from an attribute called volume
	attrs  string // of With, ready to print
	group  string // prefix of keys
}

// lineWriter is shared by handlers that come from one another.
type lineWriter struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

func newLineHandler(w io.Writer, level slog.Leveler, local bool) slog.Handler {
	return &lineHandler{w: &lineWriter{w: w}, level: level, local: local, domain: "glusterfs"}
}

func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	t := r.Time
	if t.IsZero() {
		t = time.Now()
	}
	if !h.local {
		t = t.UTC()
	}
	domain, attrs := h.domain, []byte(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "volume" && h.group == "" {
			domain = a.Value.String()
			return true
		}
		attrs = appendAttr(attrs, h.group, a)
		return true
	})
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	b := append(h.w.buf[:0], '[')
	b = t.AppendFormat(b, "2006-01-02 15:04:05.000000 -0700")
	b = append(b, "] "...)
	b = append(b, levelLetter(r.Level), ' ')
	if r.PC != 0 {
		f, _ := runtime.CallersFrames([]uintptr{r.PC}).Next()
		name := f.Function[strings.LastIndexByte(f.Function, '.')+1:]
		b = fmt.Appendf(b, "[%s:%d:%s] ", filepath.Base(f.File), f.Line, name)
	}
	b = append(b, "0-"...)
	b = append(b, oneLine(domain)...)
	b = append(b, ": "...)
	b = append(b, oneLine(r.Message)...)
	if len(attrs) > 0 {
		b = append(b, " ["...)
		b = append(b, attrs...)
		b = append(b, ']')
	}
	b = append(b, '\n')
	h.w.buf = b
	_, err := h.w.w.Write(b)
	return err
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	b := []byte(n.attrs)
	for _, a := range attrs {
		if a.Key == "volume" && h.group == "" {
			n.domain = a.Value.String()
			continue
		}
		b = appendAttr(b, h.group, a)
	}
	n.attrs = string(b)
	return &n
}

func (h *lineHandler) WithGroup(name string) slog.Handler {
	n := *h
	n.group += name + "."
	return &n
}

func appendAttr(b []byte, group string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, m := range v.Group() {
			b = appendAttr(b, group, m)
		}
		return b
	}
	if a.Equal(slog.Attr{}) {
		return b
	}
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	return append(append(append(append(append(b, '{'), group...), a.Key...), '='), oneLine(v.String())+"}"...)
}

// oneLine keeps a text from breaking the line it stands in.
func oneLine(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			q := strconv.Quote(s)
			return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
		}
	}
	return s
}
