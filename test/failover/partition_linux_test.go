package failover

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestPartition has a client work that cannot reach one brick which all others
// reach, the self-heal daemon among them: what the client does without the brick
// is healed there while it goes on with the same names. In the end no name may be
// left on one side only, with nothing that says so.
func TestPartition(t *testing.T) {
	l := newLab(t, false)
	v := l.create(t, "data", 3, "replica", "3")
	if !*ourBrick {
		forgetful(t, l, "data")
	}
	v.start(t)
	for _, kind := range strings.Split(*partitioned, ",") {
		for round := range *partitions {
			t.Run(fmt.Sprint(kind, round), func(t *testing.T) { v.partition(t, kind, round) })
		}
	}
}

func (v *volume) partition(t *testing.T, kind string, round int) {
	dir := fmt.Sprint(kind, round)
	r := v.route(t)
	defer r.close()
	seen := newHistory()
	for i := range r {
		r[i].watch(i, seen)
	}
	defer seen.write(t)
	c, err := v.connect(kind, v.volfile(t, r, true, nil), "partition-"+dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := &writer{client: c, name: dir, dir: dir, rnd: rand.New(rand.NewPCG(*seed, uint64(round))), files: map[string][]byte{}, dirs: map[string]bool{}, few: true}
	r[round%3].cut()
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.err = w.work(&stop)
	}()
	for end := time.Now().Add(*partitionFor); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		v.g.CLI(t.Context(), "volume", "heal", v.name)
	}
	stop.Store(true)
	<-done
	if w.err != nil {
		t.Fatal(w.err)
	}
	t.Logf("%d operations", w.ops)
	r[round%3].restore()
	c.Close()
	v.healed(t)
	v.copiesAlike(t)
}
