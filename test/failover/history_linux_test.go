package failover

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
)

var historyFile = flag.String("failover.history", "", "write what the clients of a torture that fails sent about names, and what the bricks answered, to this file")

// history is what went by on all relays about names and directories, in order.
type history struct {
	begin time.Time

	mu    sync.Mutex
	lines []string
}

// historyLimit bounds what is kept: the older half goes.
const historyLimit = 1 << 20

func newHistory() *history {
	if *historyFile == "" {
		return nil
	}
	return &history{begin: time.Now()}
}

func (h *history) add(format string, args ...any) {
	if h == nil {
		return
	}
	line := fmt.Sprintf("%12.6f ", time.Since(h.begin).Seconds()) + fmt.Sprintf(format, args...)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.lines) >= historyLimit {
		h.lines = append(h.lines[:0], h.lines[historyLimit/2:]...)
	}
	h.lines = append(h.lines, line)
}

// write keeps the history of a test that failed.
func (h *history) write(t testing.TB) {
	if h == nil || !t.Failed() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := os.WriteFile(*historyFile, []byte(strings.Join(h.lines, "\n")+"\n"), 0o644); err != nil {
		t.Error(err)
	}
	t.Logf("the history of %d calls is in %s", len(h.lines), *historyFile)
}

// describe tells of a fop that is about names, or marks a directory; "" for others.
func (c *call) describe() string {
	name := func(g fop.GFID, n string) string { return g.String() + "/" + n }
	switch q := c.req.(type) {
	case *fop.Create:
		return "CREATE " + name(q.Parent, q.Name)
	case *fop.Mknod:
		return fmt.Sprintf("MKNOD %s %o", name(q.Parent, q.Name), q.Mode)
	case *fop.Mkdir:
		return "MKDIR " + name(q.Parent, q.Name)
	case *fop.Link:
		return "LINK " + q.GFID.String() + " " + name(q.Parent, q.Name)
	case *fop.Unlink:
		return "UNLINK " + name(q.Parent, q.Name)
	case *fop.Rmdir:
		return "RMDIR " + name(q.Parent, q.Name)
	case *fop.Rename:
		return "RENAME " + name(q.OldParent, q.OldName) + " " + name(q.NewParent, q.NewName)
	case *fop.Lookup:
		if q.Name != "" {
			return "LOOKUP " + name(q.Parent, q.Name)
		}
	case *fop.Entrylk:
		return fmt.Sprintf("ENTRYLK %d %s %s %x", q.Cmd, name(q.GFID, q.Name), q.Domain, q.Cred.Owner)
	case *fop.Xattrop:
		var words []string
		for _, p := range q.Dict.Pairs() {
			if m := counters(p.Val.Bytes()); m != "" {
				words = append(words, strings.TrimPrefix(p.Key, "trusted.afr.")+"="+m)
			}
		}
		for _, p := range q.XData.Pairs() {
			words = append(words, p.Key+"="+p.Val.Text())
		}
		return "XATTROP " + q.GFID.String() + " " + strings.Join(words, " ")
	}
	return ""
}

// replyText is the errno of a reply of the fop program, as text.
func replyText(msg []byte) string {
	// xid, kind, accepted, verifier of no length, success, result, errno.
	if len(msg) < 32 {
		return "?"
	}
	if ret := int32(binary.BigEndian.Uint32(msg[24:])); ret >= 0 {
		return "ok"
	}
	return unix.ErrnoName(unix.Errno(binary.BigEndian.Uint32(msg[28:])))
}
