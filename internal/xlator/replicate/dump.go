package replicate

import (
	"fmt"
	"io"
	"time"

	"github.com/wythefs/wythe/internal/xlator"
)

var _ xlator.Dumper = (*replicate)(nil)

// Dump writes the state for a statedump: what GlusterFS writes too, then what is
// ours.
func (r *replicate) Dump(w io.Writer) {
	v, c := r.view(), r.conf.Load()
	fmt.Fprintf(w, "[cluster/replicate.%s]\nchild_count=%d\n", r.name, r.n)
	for i := range r.children {
		m := &r.meters[i]
		fmt.Fprintf(w, "child_up[%d]=%d\npending_key[%d]=%s\npending_reads[%d]=%d\nchild_latency[%d]=%d\n",
			i, number(v.up.has(i)), i, r.pending[i], i, m.outstanding.Load(), i, time.Duration(m.delay.Load()).Milliseconds())
	}
	fmt.Fprintf(w, "data_self_heal=0\nmetadata_self_heal=0\nentry_self_heal=0\nread_child=%d\nhealers=0\nread-hash-mode=%d\n", c.forced, c.hashMode)
	switch c.quorum.kind {
	case quorumNone:
		fmt.Fprintln(w, "quorum-type=none")
	case quorumAuto:
		fmt.Fprintln(w, "quorum-type=auto")
	case quorumFixed:
		fmt.Fprintf(w, "quorum-type=fixed\nquorum-count=%d\n", c.quorum.count)
	}
	fmt.Fprintf(w, "up=%d\n", number(v.up != 0 && c.quorum.met(v.up)))

	name := func(i int) string {
		if i < 0 {
			return "none"
		}
		return r.children[i].Name
	}
	fmt.Fprintf(w, "children_up=%d\nevent_generation=%d\nlocal_child=%s\narbiter=%s\nquorum_needs=%d\n",
		v.up.count(), v.gen, name(int(r.local.Load())-1), name(r.arbiter), c.quorum.need())
	fmt.Fprintf(w, "objects=%d\nneed_heal=%d\nhedged_reads=%d\nhedged_reads_won=%d\n",
		r.objects.Len(), number(r.needHeal.Load()), r.hedges.Load(), r.hedgeWins.Load())
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
