package replicate

import (
	"os"
	"strings"

	"github.com/wythefs/wythe/internal/fop"
)

// findLocal finds out behind the fops, once after each time that a child came,
// which child is on this host: it is the first choice for reading.
func (r *replicate) findLocal() {
	if !r.conf.Load().chooseLocal {
		return
	}
	v := r.view()
	if r.localGen.Swap(v.gen) == v.gen {
		return
	}
	r.behind.Go(func() {
		req := &fop.Getxattr{GFID: fop.RootGFID, Name: fop.KeyPathinfo}
		var buf [maxChildren]answer
		r.fan(r.life, v.up, req, buf[:r.n])
		r.noteLocal(buf[:r.n])
	})
}

// noteLocal makes the last child on this host the local one; the arbiter has
// nothing to read.
func (r *replicate) noteLocal(as []answer) {
	host := r.env.Hostname
	if host == "" {
		host, _ = os.Hostname()
	}
	for i := range as {
		reply := replyOf[*fop.XattrReply](as, i)
		if reply == nil || i == r.arbiter || hostOf(reply.Dict.Text(fop.KeyPathinfo)) != host {
			continue
		}
		if int(r.local.Swap(int32(i+1))) != i+1 {
			r.log.Info("reads go to the copy on this host", "child", r.children[i].Name)
		}
	}
}

// hostOf takes the host out of pathinfo, which looks like
//
//	<POSIX(/bricks/b1):host:/bricks/b1/>
//
// perhaps with other translators' parts around it. It is "" if there is none.
func hostOf(pathinfo string) string {
	_, rest, ok := strings.Cut(pathinfo, "<POSIX(")
	if !ok {
		return ""
	}
	_, rest, ok = strings.Cut(rest, "):")
	if !ok {
		return ""
	}
	host, _, ok := strings.Cut(rest, ":")
	if !ok {
		return ""
	}
	return host
}
