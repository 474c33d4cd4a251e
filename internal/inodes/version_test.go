package inodes

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestVersionPlays are requests on one object and what may be cached. In a play,
// "r1" is a read that begins and "R1" its reply, "w1" and "W1" a change, "x" a
// notice that somebody else changed the object, "f" that it is forgotten. The
// expectation has a verdict per reply.
func TestVersionPlays(t *testing.T) {
	for _, c := range []struct{ play, want string }{
		{"r1 R1", "keep"},
		{"r1 R1 r2 R2", "keep keep"},
		{"r1 r2 R2 R1", "keep compare"},
		{"r1 r2 R1 R2", "keep compare"},
		{"r1 w1 W1 R1", "alone compare"},
		{"r1 w1 R1 W1", "compare other"},
		{"w1 r1 R1 W1", "compare other"},
		{"w1 r1 W1 R1", "alone compare"},
		{"w1 W1 r1 R1", "alone keep"},
		{"w1 w2 W1 W2", "other other"},
		{"w1 w2 W2 W1", "other other"},
		{"w1 w2 W1 r1 W2 R1", "other other compare"},
		{"w1 x W1", "other"},
		{"r1 x R1", "compare"},
		{"r1 x r2 R2 R1", "keep compare"},
		{"r1 w1 W1 R1 r2 R2", "alone compare keep"},
		// Forgotten between request and reply.
		{"r1 w1 W1 f R1", "alone compare"},
		{"r1 r2 R2 f R1", "keep compare"},
		{"w1 W1 f r1 R1", "alone keep"},
		{"r1 f R1", "keep"},
	} {
		var clock Clock
		var v Version
		at := map[string]uint64{}
		var got []string
		for _, step := range strings.Fields(c.play) {
			switch who := step[1:]; step[0] {
			case 'r':
				at["r"+who] = clock.Now()
			case 'R':
				got = append(got, []string{"keep", "compare"}[v.Learn(&clock, at["r"+who])])
			case 'w':
				at["w"+who] = v.Begin(&clock)
			case 'W':
				word := "other"
				if v.End(&clock, at["w"+who]) {
					word = "alone"
				}
				got = append(got, word)
			case 'x':
				v.Void(&clock)
			case 'f':
				clock.Forget(&v)
				v = Version{}
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", c.play, s, c.want)
		}
	}
}

// TestVersionNeverOlder runs random plays against an object with a value: what a
// cache that follows the verdicts serves is never older than what was seen.
func TestVersionNeverOlder(t *testing.T) {
	for seed := range uint64(2000) {
		if err := randomPlay(rand.New(rand.NewPCG(seed, 1))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func randomPlay(r *rand.Rand) error {
	type request struct {
		write bool
		start uint64
		got   int // sampled at the object, -1 before that
	}
	var clock Clock
	var v Version
	object, seen, cached := 0, 0, -1
	var flight []*request
	for range 60 {
		switch n := r.IntN(10); {
		case n < 2:
			flight = append(flight, &request{start: clock.Now(), got: -1})
		case n < 3:
			flight = append(flight, &request{write: true, start: v.Begin(&clock), got: -1})
			cached = -1
		case n < 4: // somebody else, unheard of
			object++
		case n < 5 && r.IntN(4) == 0:
			if !v.Changing() {
				clock.Forget(&v)
				v, cached = Version{}, -1
			}
		case n < 7 && len(flight) > 0: // it reaches the object
			q := flight[r.IntN(len(flight))]
			if q.got < 0 {
				if q.write {
					object++
				}
				q.got = object
			}
		case len(flight) > 0: // the reply
			i := r.IntN(len(flight))
			q := flight[i]
			if q.got < 0 {
				continue
			}
			flight = append(flight[:i], flight[i+1:]...)
			if q.write {
				if cached = -1; v.End(&clock, q.start) {
					cached = q.got
				}
			} else {
				switch v.Learn(&clock, q.start) {
				case Keep:
					cached = q.got
				case Compare:
					if cached != q.got {
						v.Void(&clock)
						cached = -1
					}
				}
			}
			seen = max(seen, q.got)
		}
		if cached >= 0 && cached < seen {
			return fmt.Errorf("%d is served after %d was seen", cached, seen)
		}
	}
	return nil
}
