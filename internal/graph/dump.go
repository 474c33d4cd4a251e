package graph

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/wythefs/wythe/internal/xlator"
)

// What a graph shows of itself: to its translators, and in statedumps.

// graphID names a graph as GlusterFS does.
func graphID(host string, now time.Time) string {
	if host == "" {
		host = "localhost"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), now.UTC().Format("2006-01-02-15:04:05.000000 -0700"))
}

// ID is the name of this graph among those of all processes.
func (g *Graph) ID() string { return g.id }

// Volumes lists the translators, the top first.
func (g *Graph) Volumes() []xlator.Volume {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]xlator.Volume, 0, len(g.nodes))
	for i := len(g.nodes) - 1; i >= 0; i-- {
		n := g.nodes[i]
		v := xlator.Volume{Name: n.name, Type: n.typeName, Subvolumes: n.vol.Subvolumes}
		for _, o := range n.vol.Options {
			v.Options = append(v.Options, xlator.Setting{Key: o.Key, Value: o.Value})
		}
		if !n.skipped {
			v.Handler = n.handler
		}
		all = append(all, v)
	}
	return all
}

// inside is a graph as its translators see it.
type inside struct{ g *Graph }

func (i inside) Name() string             { return i.g.id }
func (i inside) Volumes() []xlator.Volume { return i.g.Volumes() }
func (i inside) Volfile() string          { return i.g.File().String() }

// Dump writes the state of all translators as a statedump has it, the top
// first. Each has at least one section.
func (g *Graph) Dump(w io.Writer) {
	for _, v := range g.Volumes() {
		DumpVolume(w, v)
	}
}

// DumpVolume writes the sections of one translator.
func DumpVolume(w io.Writer, v xlator.Volume) {
	var b bytes.Buffer
	switch d, ok := v.Handler.(xlator.Dumper); {
	case v.Handler == nil:
		b.WriteString("skipped=yes\n")
	case ok:
		d.Dump(&b)
	}
	if !bytes.HasPrefix(b.Bytes(), []byte("[")) {
		fmt.Fprintf(w, "[%s.%s]\n", v.Type, v.Name)
	}
	w.Write(b.Bytes())
	fmt.Fprintln(w)
}

// DumpCalls writes the calls that the translators wait for, as GlusterFS's call
// pool. requests is how many requests are inside.
func (g *Graph) DumpCalls(w io.Writer, requests int) {
	fmt.Fprintf(w, "[global.callpool]\ncallpool.cnt=%d\n\n", requests)
	n := 0
	now := time.Now()
	for _, v := range g.Volumes() {
		c, ok := v.Handler.(xlator.Caller)
		if !ok {
			continue
		}
		for _, call := range c.Calls() {
			n++
			fmt.Fprintf(w, "[global.callpool.stack.%d]\ncallid=%d\ntype=1\nop=%s\nframe=%s\ntranslator=%s\nseconds=%.6f\ncomplete=0\n\n",
				n, n, call.What, v.Name, v.Name, now.Sub(call.Since).Seconds())
		}
	}
}

// Statedump writes a statedump of this process into a new file in dir and
// returns its path: the memory in use, and what body adds. prefix is
// "glusterdump" but for bricks.
func Statedump(dir, prefix string, body func(io.Writer)) (string, error) {
	now := time.Now()
	path := filepath.Join(dir, fmt.Sprintf("%s.%d.dump.%d", prefix, os.Getpid(), now.Unix()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return path, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return path, err
	}
	const stamp = "2006-01-02 15:04:05.000000 -0700"
	fmt.Fprintf(f, "DUMP-START-TIME: %s\n\n[mallinfo]\n", now.UTC().Format(stamp))
	for _, m := range xlator.Mallinfo() {
		fmt.Fprintf(f, "mallinfo_%s=%d\n", m.Key, m.N)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Fprintf(f, "\n[global.glusterfs - Memory usage]\nnum_goroutines=%d\nnum_gc=%d\n\n", runtime.NumGoroutine(), m.NumGC)
	body(f)
	_, err = fmt.Fprintf(f, "DUMP-END-TIME: %s\n", time.Now().UTC().Format(stamp))
	if e := f.Close(); err == nil {
		err = e
	}
	return path, err
}
