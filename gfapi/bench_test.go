package gfapi

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

// null answers reads and writes without doing anything, so that what is left is
// this package's own cost.
type null struct{ fop.Handler }

func (n null) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Read:
		return &fop.ReadReply{Data: r.Into}, nil
	case *fop.Write:
		return &fop.WriteReply{Size: uint32(len(r.Data))}, nil
	}
	return n.Handler.Do(ctx, req)
}

func benchFile(b *testing.B) *File {
	v := mountHandler(b, null{mem.NewFS(nil)})
	f, err := v.Create("f")
	must(b, err)
	b.Cleanup(func() { f.Close() })
	b.ReportAllocs()
	return f
}

func BenchmarkReadAt4K(b *testing.B) {
	f, p := benchFile(b), make([]byte, 4096)
	for b.Loop() {
		f.ReadAt(p, 8192)
	}
}

func BenchmarkWriteAt4K(b *testing.B) {
	f, p := benchFile(b), make([]byte, 4096)
	for b.Loop() {
		f.WriteAt(p, 8192)
	}
}

func BenchmarkReadAt16M(b *testing.B) {
	f, p := benchFile(b), make([]byte, 16<<20)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		f.ReadAt(p, 0)
	}
}

func BenchmarkStatWarm(b *testing.B) {
	v := memVolume(b)
	must(b, v.MkdirAll("a/b/c", 0o755))
	must(b, v.WriteFile("a/b/c/f", nil, 0o644))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Stat("a/b/c/f"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateCloseRemove(b *testing.B) {
	v := memVolume(b)
	must(b, v.Mkdir("d", 0o755))
	b.ReportAllocs()
	for b.Loop() {
		f, err := v.OpenFile("d/f", os.O_WRONLY|os.O_CREATE, 0o644)
		must(b, err)
		must(b, f.Close())
		must(b, v.Remove("d/f"))
	}
}

func BenchmarkReadDir1000(b *testing.B) {
	v := memVolume(b)
	for i := range 1000 {
		must(b, v.WriteFile(fmt.Sprint("f", i), nil, 0o644))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.ReadDir("/"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteTo(b *testing.B) {
	v := memVolume(b)
	const size = 64 << 20
	must(b, v.WriteFile("f", make([]byte, size), 0o644))
	f, err := v.Open("f")
	must(b, err)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		f.Seek(0, io.SeekStart)
		if _, err := f.WriteTo(struct{ io.Writer }{io.Discard}); err != nil {
			b.Fatal(err)
		}
	}
}
