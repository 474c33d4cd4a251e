package distribute

import (
	"fmt"
	"io"
)

// Dump writes the state of the subvolumes for a statedump: what GlusterFS writes
// too, then what is ours.
func (d *distribute) Dump(w io.Writer) {
	s := d.set.Load()
	fmt.Fprintf(w, "[xlator.cluster.dht.%s.priv]\nsubvol_cnt=%d\n", d.name, len(d.subs))
	for _, sub := range d.subs {
		up := 0
		if sub.isUp() {
			up = 1
		}
		fmt.Fprintf(w, "subvolumes[%d]=%s\nsubvolume_status[%d]=%d\n", sub.index, sub.name, sub.index, up)
	}
	unhashed := 1
	switch s.unhashed {
	case "off", "no", "false", "disable", "0":
		unhashed = 0
	case "auto":
		unhashed = 2
	}
	fmt.Fprintf(w, "search_unhashed=%d\ngen=%d\nmin_free_disk=%f\nmin_free_inodes=%f\ndisk_unit percentage=%d\n",
		unhashed, d.ups.Load(), s.minRoom(), s.minInodes, percentage(s.minBytes == 0))
	for _, sub := range d.subs {
		if u := sub.usage.Load(); u != nil {
			fmt.Fprintf(w, "du_stats[%d].avail_percent=%f\ndu_stats[%d].avail_space=%d\ndu_stats[%d].avail_inodes=%f\n",
				sub.index, u.percent, sub.index, u.space, sub.index, u.inodes)
		}
	}
	fmt.Fprintf(w, "commit_hash=%d\n", uint32(d.commit.Load()))
}

func percentage(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Dump writes that there is one subvolume and no choice.
func (d *single) Dump(w io.Writer) {
	fmt.Fprintf(w, "[xlator.cluster.dht.%s.priv]\nsubvol_cnt=1\nsubvolumes[0]=%s\n", d.name, d.below)
}
