package xlator

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestBehind: who waits is let go when nothing is under way, and work may begin
// meanwhile.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Behind
		b.Wait() // nothing to wait for
		var over atomic.Int32
		gate := make(chan struct{})
		b.Go(func() { <-gate })
		for range 2 {
			go func() { b.Wait(); over.Add(1) }()
		}
		synctest.Wait()
		b.Go(func() { <-gate }) // as a child that comes up does
		gate <- struct{}{}
		synctest.Wait()
		if n := over.Load(); n != 0 {
			t.Errorf("%d waited for one of two", n)
		}
		gate <- struct{}{}
		synctest.Wait()
		if n := over.Load(); n != 2 {
			t.Errorf("%d of 2 came back", n)
		}
		b.Wait()
	})
}
