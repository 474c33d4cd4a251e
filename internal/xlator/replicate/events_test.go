package replicate

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// TestEvents is what the parents are told.
func TestEvents(t *testing.T) {
	type step struct {
		child int
		kind  fop.EventKind
		want  string
	}
	const (
		up, down, connecting, refused = fop.EventChildUp, fop.EventChildDown, fop.EventChildConnecting, fop.EventAuthFailed
	)
	names := map[fop.EventKind]string{up: "up", down: "down", connecting: "connecting", refused: "refused"}
	for name, steps := range map[string][]step{
		"all come":        {{0, up, ""}, {1, up, ""}, {2, up, "up"}, {1, down, ""}, {1, up, ""}},
		"one is late":     {{0, up, ""}, {1, connecting, ""}, {2, up, "up"}, {1, up, ""}},
		"none is there":   {{0, connecting, ""}, {1, connecting, ""}, {2, connecting, "down"}, {0, connecting, "connecting"}, {1, up, "up"}},
		"all go":          {{0, up, ""}, {1, up, ""}, {2, up, "up"}, {0, down, ""}, {1, down, ""}, {2, down, "down"}, {2, up, "up"}},
		"one refuses":     {{0, up, ""}, {1, refused, ""}, {2, up, "up"}},
		"all refuse":      {{0, refused, ""}, {1, refused, ""}, {2, refused, "refused"}},
		"waited too long": {{0, up, ""}, {-1, 0, "up"}, {1, up, ""}, {2, connecting, ""}},
		"waited for none": {{0, connecting, ""}, {-1, 0, "down"}, {2, up, "up"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := over(t, make([]fop.Handler, 3))
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- c.Run(ctx) }()
			for i, s := range steps {
				if s.child < 0 {
					time.Sleep(firstWait + time.Second)
					synctest.Wait()
				} else {
					c.ChildEvent(c.taps[s.child].name, fop.Event{Kind: s.kind, Err: syscall.ECONNREFUSED})
				}
				got := ""
				for len(c.events) > 0 {
					got += names[(<-c.events).Kind]
				}
				if got != s.want {
					t.Errorf("%s: step %d: %q, want %q", name, i, got, s.want)
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	c := over(t, make([]fop.Handler, 2))
	for i, s := range []step{{0, down, "0 0"}, {0, up, "1 1"}, {0, up, "1 1"}, {1, up, "3 2"}, {0, down, "2 3"}, {0, connecting, "2 3"}} {
		c.ChildEvent(c.taps[s.child].name, fop.Event{Kind: s.kind})
		if v := c.view(); fmt.Sprintf("%d %d", v.up, v.gen) != s.want {
			t.Errorf("step %d: %+v, want %s", i, v, s.want)
		}
	}
}

// TestLocal: reads go to the copy on this host.
func TestLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, opt := range []string{"on", "off"} {
			c := overMemory(t, 3, "choose-local", opt)
			g := c.plant("f", "12345")
			hashed := int(superFastHash(&g) % 3)
			local := (hashed + 1) % 3
			for i, p := range c.taps {
				p.intercept(func(_ context.Context, req fop.Request) (fop.Reply, error, bool) {
					q, ok := req.(*fop.Getxattr)
					if !ok || q.Name != fop.KeyPathinfo {
						return nil, nil, false
					}
					host := "there"
					if i == local {
						host = "here"
					}
					return &fop.XattrReply{Dict: fop.NewDict(fop.Pair{Key: q.Name, Val: fop.Str("<POSIX(/b):" + host + ":/b/>")})}, nil, true
				})
			}
			if _, err := fop.Call(t.Context(), c, &fop.Lookup{Header: c.head(), GFID: fop.RootGFID}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			c.mustLookup("f")
			c.forget()
			if _, err := c.read(g); err != nil {
				t.Fatal(err)
			}
			want := []string{"", "", ""}
			if opt == "on" {
				want[local] = "READ"
			} else {
				want[hashed] = "READ"
			}
			if diff := cmp.Diff(want, c.ops()); diff != "" {
				t.Errorf("choose-local %s (-want +got):\n%s", opt, diff)
			}
			var b bytes.Buffer
			c.Dump(&b)
			if !strings.Contains(b.String(), "child_up[2]=1\n") || strings.Contains(b.String(), "local_child=none") != (opt == "off") {
				t.Errorf("dump:\n%s", &b)
			}
		}
	})
}

func TestOptions(t *testing.T) {
	kids := func(n int) (all []xlator.Child) {
		for i := range n {
			all = append(all, xlator.Child{Name: fmt.Sprintf("c%d", i)})
		}
		return all
	}
	for _, k := range []struct {
		n    int
		opts xlator.Options
		err  syscall.Errno
	}{
		{2, nil, 0}, {0, nil, syscall.EINVAL}, {17, nil, syscall.EINVAL}, {16, nil, 0},
		{2, xlator.Options{"thin-arbiter": "h:/ta"}, syscall.ENOTSUP}, {3, xlator.Options{"iam-self-heal-daemon": "yes"}, syscall.ENOTSUP},
		{3, xlator.Options{"arbiter-count": "1"}, 0}, {2, xlator.Options{"arbiter-count": "1"}, syscall.EINVAL},
		{2, xlator.Options{"read-subvolume": "c1"}, 0}, {2, xlator.Options{"read-subvolume": "c2"}, syscall.EINVAL}, {2, xlator.Options{"read-subvolume-index": "2"}, syscall.EINVAL},
		{2, xlator.Options{"quorum-type": "fixed", "quorum-count": "3"}, syscall.EINVAL},
	} {
		h, err := New(xlator.Config{Name: "r", Options: k.opts, Children: kids(k.n)})
		if fop.Errno(err) != k.err {
			t.Errorf("%d, %v: %v", k.n, k.opts, err)
		}
		if err == nil {
			h.(*replicate).Close()
		}
	}
	h, err := New(xlator.Config{Name: "r", Options: xlator.Options{"afr-pending-xattr": "old-0,old-7"}, Children: kids(2)})
	if err != nil {
		t.Fatal(err)
	}
	r := h.(*replicate)
	defer r.Close()
	if diff := cmp.Diff([]string{"trusted.afr.old-0", "trusted.afr.old-7"}, r.pending); diff != "" {
		t.Error(diff)
	}
	if got := pendingKeys(xlator.Options{"afr-pending-xattr": "one"}, []string{"a", "b"}); got[1] != "trusted.afr.b" {
		t.Errorf("%v", got)
	}
}
