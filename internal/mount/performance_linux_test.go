package mount

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/testenv"
	"github.com/wythefs/wythe/internal/volserver"
)

// TestPerformanceOptionsLive has the real glusterd load and unload each
// performance translator, and change their options, while a file is open: whoever
// writes to it sees at once what he wrote, by the open file, by its name and in
// the listing of its directory.
func TestPerformanceOptionsLive(t *testing.T) {
	g := testenv.Gluster(t)
	disk := testenv.LoopFS(t, "xfs", 512)
	g.Volume(t, "data", disk+"/brick0", disk+"/brick1")
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	s, err := Open(ctx, Config{
		Volume: "data", Servers: []volserver.Server{{Network: "tcp", Addr: g.Addr(24007)}},
		Registry: clientside.Registry(), Dial: g.DialContext, Log: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	fd := makeFile(ctx, t, s, "file")
	var rounds atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := int64(0); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := seesItsWrite(ctx, s, fd, n); err != nil {
				t.Errorf("write %d: %v", n, err)
				return
			}
			rounds.Store(n + 1)
		}
	})
	graphs := func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.count }
	set := func(seen func(string) bool, words ...string) {
		t.Helper()
		g.Set(t, "data", words...)
		testenv.Wait(t, 30*time.Second, strings.Join(words, " "), func() bool { return seen(s.Volfile()) })
		n := rounds.Load()
		testenv.Wait(t, 20*time.Second, "writes", func() bool { return t.Failed() || rounds.Load() > n+5 })
	}
	defaults := []string{}
	// In this order: parallel-readdir's translators are of the type that
	// readdir-ahead is about, and stay when that is off.
	for _, k := range [][2]string{{"write-behind", "write-behind"}, {"open-behind", "open-behind"}, {"quick-read", "quick-read"}, {"stat-prefetch", "md-cache"},
		{"read-ahead", "read-ahead"}, {"readdir-ahead", "readdir-ahead"}, {"io-cache", "io-cache"}, {"nl-cache", "nl-cache"}, {"parallel-readdir", "data-readdir-ahead-1"}} {
		key, typ := k[0], k[1]
		has := func(v string) bool {
			return strings.Contains(v, "performance/"+typ+"\n") || strings.Contains(v, "volume "+typ+"\n")
		}
		was := has(s.Volfile())
		word := map[bool]string{true: "on", false: "off"}
		set(func(v string) bool { return has(v) != was }, "performance."+key, word[!was])
		defaults = append(defaults, "performance."+key, word[was])
		if t.Failed() {
			break
		}
	}
	before := graphs()
	if before != 10 {
		t.Errorf("%d graphs after nine new topologies", before)
	}
	set(func(v string) bool {
		return strings.Contains(v, "write-behind\n") && !strings.Contains(v, "nl-cache\n")
	}, defaults...)
	before = graphs()
	set(func(v string) bool { return strings.Contains(v, "md-cache-timeout 60") },
		"performance.write-behind-window-size", "2MB", "performance.lazy-open", "no", "performance.quick-read-cache-timeout", "9", "performance.md-cache-timeout", "60")
	if n := graphs(); n != before {
		t.Errorf("%d graphs after new options, %d before", n, before)
	}
	close(stop)
	wg.Wait()
	if _, err := fop.Call(ctx, s, &fop.Fsync{GFID: fd.GFID, Fd: fd}); err != nil {
		t.Error(err)
	}
	release(t, s, fd)
	b, err := os.ReadFile(g.Mount(t, "data") + "/file")
	if err != nil || int64(len(b)) != rounds.Load() {
		t.Errorf("%d bytes, %d were written: %v", len(b), rounds.Load(), err)
	}
}

// seesItsWrite writes byte n of a file and looks at it in every way.
func seesItsWrite(ctx context.Context, s *Session, fd *fop.Fd, n int64) error {
	c := byte('a' + n%26)
	if _, err := fop.Call(ctx, s, &fop.Write{GFID: fd.GFID, Fd: fd, Offset: uint64(n), Data: []byte{c}}); err != nil {
		return err
	}
	st, err := fop.Call(ctx, s, &fop.Fstat{GFID: fd.GFID, Fd: fd})
	if err != nil || st.Stat.Size != uint64(n+1) {
		return fmt.Errorf("fstat: %d bytes, %w", sizeOf(st), err)
	}
	l, err := fop.Call(ctx, s, &fop.Lookup{Parent: fop.RootGFID, Name: "file"})
	if err != nil || l.Stat.Size != uint64(n+1) {
		return fmt.Errorf("lookup: %+v, %w", l, err)
	}
	r, err := fop.Call(ctx, s, &fop.Read{GFID: fd.GFID, Fd: fd, Offset: uint64(n), Size: 10})
	if err != nil || len(r.Data) != 1 || r.Data[0] != c {
		return fmt.Errorf("read: %+v, %w", r, err)
	}
	dir := &fop.Fd{GFID: fop.RootGFID, Dir: true}
	if _, err := fop.Call(ctx, s, &fop.Opendir{GFID: dir.GFID, Fd: dir}); err != nil {
		return err
	}
	defer s.Do(ctx, &fop.Releasedir{GFID: dir.GFID, Fd: dir})
	for off := uint64(0); ; {
		p, err := fop.Call(ctx, s, &fop.Readdirp{GFID: dir.GFID, Fd: dir, Offset: off, Size: 4096})
		if err != nil {
			return err
		}
		for _, e := range p.Entries {
			if off = e.Off; e.Name == "file" && !e.Stat.IsZero() && e.Stat.Size != uint64(n+1) {
				return fmt.Errorf("listed with %d bytes", e.Stat.Size)
			}
		}
		if p.EOF || len(p.Entries) == 0 {
			return nil
		}
	}
}

func sizeOf(r *fop.StatReply) uint64 {
	if r == nil {
		return 0
	}
	return r.Stat.Size
}
