package meta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// release is the release of GlusterFS that this program does what it does of.
const release = "10.3"

func version() string {
	return "{ \n  \"Package Version\": \"" + release + "\"\n}"
}

func commandLine() string {
	line, err := json.Marshal(strings.Join(os.Args, " "))
	if err != nil { // it is a string
		line = []byte(`""`)
	}
	return "{ \n  \"Cmdlinestr\": " + string(line) + "\n}"
}

func mallinfo() string {
	var b strings.Builder
	b.WriteString("[mallinfo]\n")
	for _, f := range xlator.Mallinfo() {
		fmt.Fprintf(&b, "mallinfo_%s = %d\n", f.Key, f.N)
	}
	return b.String()
}

// frames lists the calls that translators wait for, as stacks of one frame.
func (m *meta) frames() string {
	type frame struct {
		Number   int
		Xlator   string
		Creation float64 `json:"Creation_time"`
		Complete int
	}
	type stack struct {
		Number int
		Frame  []frame
		Unique int
		Type   string
	}
	all := struct {
		Stack     []stack
		CallCount int `json:"Call_Count"`
	}{Stack: []stack{}}
	if m.graph != nil {
		for _, v := range m.graph.Volumes() {
			c, ok := v.Handler.(xlator.Caller)
			if !ok {
				continue
			}
			for _, call := range c.Calls() {
				n := len(all.Stack) + 1
				all.Stack = append(all.Stack, stack{Number: n, Unique: n, Type: call.What,
					Frame: []frame{{Number: 1, Xlator: v.Name, Creation: float64(call.Since.UnixMicro()) / 1e6}}})
			}
		}
	}
	all.CallCount = len(all.Stack)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "\t")
	if err := e.Encode(all); err != nil { // numbers and strings
		return "{}"
	}
	return b.String()
}

func (m *meta) measuring() string {
	if m.measure.Load() {
		return "1\n"
	}
	return "0\n"
}

func (m *meta) setMeasuring(s string) error {
	on, err := xlator.ParseBool(s)
	if err != nil {
		return fmt.Errorf("measure_latency: %w", err)
	}
	m.measure.Store(on)
	return nil
}

// levels are the names of GlusterFS's log levels, by number, and what they are
// here.
var levels = []struct {
	name  string
	level slog.Level
}{
	{"NONE", slog.LevelError + 100}, {"EMERG", slog.LevelError + 12}, {"ALERT", slog.LevelError + 8}, {"CRITICAL", slog.LevelError + 4},
	{"ERROR", slog.LevelError}, {"WARNING", slog.LevelWarn}, {"NOTICE", slog.LevelInfo + 2}, {"INFO", slog.LevelInfo},
	{"DEBUG", slog.LevelDebug}, {"TRACE", slog.LevelDebug - 4},
}

// logLevel is the number of the level in force: the finest that is not finer.
func (m *meta) logLevel() string {
	at := slog.LevelInfo
	if m.env.LogLevel != nil {
		at = m.env.LogLevel.Level()
	}
	n := 0
	for i, l := range levels {
		if l.level >= at {
			n = i
		}
	}
	return strconv.Itoa(n) + "\n"
}

func (m *meta) setLogLevel(s string) error {
	if m.env.LogLevel == nil {
		return fmt.Errorf("loglevel: the log is that of the program that uses the volume: %w", syscall.EPERM)
	}
	for i, l := range levels {
		if s == strconv.Itoa(i) || strings.EqualFold(s, l.name) {
			m.env.LogLevel.Set(l.level)
			return nil
		}
	}
	return fmt.Errorf("loglevel: %q is neither a number from 0 to 9 nor the name of a level, such as INFO: %w", s, syscall.EINVAL)
}

func option(v xlator.Volume, key string) string {
	for _, o := range v.Options {
		if o.Key == key {
			return o.Value + "\n"
		}
	}
	return "" // it was in force when the directory was made
}

// private is the state of a translator: the lines of its statedump.
func private(v xlator.Volume) string {
	d, ok := v.Handler.(xlator.Dumper)
	if !ok {
		return ""
	}
	var in bytes.Buffer
	d.Dump(&in)
	var out strings.Builder
	if !bytes.HasPrefix(in.Bytes(), []byte("[")) && in.Len() > 0 {
		fmt.Fprintf(&out, "[%s.%s]\n", v.Type, v.Name)
	}
	for line := range strings.Lines(in.String()) {
		key, value, ok := strings.Cut(line, "=")
		switch {
		case ok && line[0] != '[':
			out.WriteString(key + " = " + value)
		case line != "\n":
			out.WriteString(line)
		}
	}
	return out.String()
}

// profile is how long fops took, of the translator at the top.
func (m *meta) profile(v xlator.Volume) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s.latency]\n", v.Name)
	if v.Name != m.name {
		return b.String()
	}
	for op := range m.fops {
		l := &m.fops[op]
		n, total := l.count.Load(), l.total.Load()
		if n == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s.latency.%s = AVG:%f CNT:%d TOTAL:%d MIN:%d MAX:%d\n",
			v.Name, fop.Op(op), float64(total)/float64(n), n, total, l.least.Load(), l.most.Load())
	}
	return b.String()
}

// now is the time that all objects show.
func now() fop.Time {
	t := time.Now()
	return fop.Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}
