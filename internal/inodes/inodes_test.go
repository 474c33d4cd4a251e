package inodes

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
)

func id(n int) fop.GFID { return fop.GFID{0: byte(n), 1: byte(n >> 8), 8: 0} } // all in one shard

func TestTable(t *testing.T) {
	tab := New[int](3 * shards) // three per shard
	held := tab.Acquire(id(0))
	held.V = 100
	for i := 1; i <= 10; i++ {
		r := tab.Acquire(id(i))
		r.V = i
		r.Release()
	}
	if n := tab.Len(); n != 4 {
		t.Errorf("%d values, want the held one and three idle ones", n)
	}
	for i, want := range map[int]bool{0: true, 1: false, 7: false, 8: true, 9: true, 10: true} {
		r := tab.Peek(id(i))
		if (r != nil) != want {
			t.Errorf("value %d there: %v, want %v", i, r != nil, want)
		}
		if r != nil {
			r.Release()
		}
	}
	again := tab.Acquire(id(0))
	if again != held || again.V != 100 {
		t.Error("two holders of one GFID have two values")
	}
	again.Hold().Release()
	again.Release()

	// What is used again is dropped later.
	tab.Acquire(id(8)).Release()
	tab.Acquire(id(11)).Release()
	if r := tab.Peek(id(9)); r != nil {
		t.Error("the least recently used one is still there")
	}
	if r := tab.Peek(id(8)); r == nil {
		t.Error("one that was just used is gone")
	} else {
		r.Release()
	}

	tab.Forget(id(0))
	tab.Forget(id(8))
	tab.Forget(id(77))
	fresh := tab.Acquire(id(0))
	if fresh == held || fresh.V != 0 {
		t.Error("a forgotten value is back")
	}
	held.Release()
	if r := tab.Peek(id(0)); r != fresh {
		t.Error("the release of a forgotten value touched the new one")
	} else {
		r.Release()
	}
	fresh.Release()

	seen := 0
	tab.Range(func(r *Ref[int]) bool { seen++; return seen < 2 })
	if seen != 2 {
		t.Errorf("Range went on to %d values after it was told to stop at 2", seen)
	}
}

// TestExclusion: however small the table, holders of one GFID share a value.
func TestExclusion(t *testing.T) {
	tab := New[atomic.Int32](1)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 5000 {
				r := tab.Acquire(fop.GFID{0: byte((i + w) % 7)})
				r.V.Add(1)
				other := tab.Acquire(r.GFID)
				if other != r {
					t.Error("two values for one GFID")
				}
				r.V.Add(-1)
				other.Release()
				r.Release()
			}
		}()
	}
	wg.Wait()
	tab.Range(func(r *Ref[atomic.Int32]) bool {
		if n := r.V.Load(); n != 0 {
			t.Errorf("count %d at the end", n)
		}
		return true
	})
}

func BenchmarkAcquire(b *testing.B) {
	tab := New[int](1 << 16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		i := 0
		for pb.Next() {
			i++
			tab.Acquire(fop.GFID{0: byte(i), 8: byte(i >> 2)}).Release()
		}
	})
}
