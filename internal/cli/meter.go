package cli

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// meter counts a transfer and shows it: as a bar on a terminal, as nothing
// elsewhere.
type meter struct {
	counts
	planned atomic.Int64 // bytes known of so far
	started time.Time
	bars    *mpb.Progress
	bar     *mpb.Bar
	files   atomic.Int64 // planned
}

// newMeter starts a meter. The bar goes to w if that is a terminal and show is
// true.
func newMeter(w io.Writer, title string, show bool) *meter {
	m := &meter{started: time.Now()}
	if !show || !isTerminal(w) {
		return m
	}
	m.bars = mpb.New(mpb.WithOutput(w), mpb.WithRefreshRate(100*time.Millisecond))
	m.bar = m.bars.AddBar(0,
		mpb.PrependDecorators(
			decor.Name(title+" "),
			decor.Any(func(decor.Statistics) string {
				return fmt.Sprintf("%d/%d files ", atomic.LoadInt64(&m.Files)+atomic.LoadInt64(&m.Skipped), m.files.Load())
			}),
			decor.CountersKibiByte("% .1f / % .1f"),
		),
		mpb.AppendDecorators(
			decor.Percentage(decor.WC{W: 5}),
			decor.AverageSpeed(decor.SizeB1024(0), " % .1f"),
		),
	)
	return m
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 || os.Getenv("TERM") == "dumb" {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(st, null)
}

// plan says that so much more is to be copied.
func (m *meter) plan(files, bytes int64) {
	m.files.Add(files)
	total := m.planned.Add(bytes)
	if m.bar != nil {
		m.bar.SetTotal(total, false)
	}
}

// add says that so much has been copied.
func (m *meter) add(n int64) {
	atomic.AddInt64(&m.Bytes, n)
	m.skip(n)
}

// skip says that so much need not be copied.
func (m *meter) skip(n int64) {
	if m.bar != nil {
		m.bar.IncrInt64(n)
	}
}

// finish takes the bar away and returns how long it took.
func (m *meter) finish() time.Duration {
	d := time.Since(m.started)
	if m.bar != nil {
		m.bar.SetTotal(-1, true)
		m.bar.Abort(false)
		m.bars.Wait()
	}
	return d
}

// summary says in one line what was done.
func (m *meter) summary(d time.Duration) string {
	s := fmt.Sprintf("%d files, %s in %s (%s/s)", m.Files, size(m.Bytes), d.Round(time.Millisecond), size(rate(m.Bytes, d)))
	if m.Dirs > 0 {
		s += fmt.Sprintf(", %d directories", m.Dirs)
	}
	if m.Links > 0 {
		s += fmt.Sprintf(", %d symlinks", m.Links)
	}
	if m.Skipped > 0 {
		s += fmt.Sprintf(", %d unchanged", m.Skipped)
	}
	if m.Resumed > 0 {
		s += fmt.Sprintf(", %d resumed", m.Resumed)
	}
	if m.Failed > 0 {
		s += fmt.Sprintf(", %d FAILED", m.Failed)
	}
	return s
}

// rate is n per second.
func rate(n int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(n) / d.Seconds())
}

// size prints a number of bytes for people.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	i := -1
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
