package distribute

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestPlanRename has the cases that were seen on the wire with GlusterFS 10.3.
func TestPlanRename(t *testing.T) {
	for _, c := range []struct {
		name  string
		at    renamePlaces
		steps string
	}{
		{"A", renamePlaces{0, 0, 0, none}, "RENAME 0 marked"},
		{"B", renamePlaces{0, 0, 1, none}, "MKNOD 1 old to 0 su; LINK 0 new; RENAME 1 su; UNLINK 0 old marked"},
		{"C", renamePlaces{1, 0, 2, none}, "MKNOD 2 old to 0 su; LINK 0 new; RENAME 2 su; UNLINK 0 old marked; UNLINK 1 old su"},
		{"D", renamePlaces{2, 0, 0, none}, "RENAME 0 marked; UNLINK 2 old su"},
		{"E", renamePlaces{0, 0, 1, 1}, "MKNOD 1 old to 0 su; LINK 0 new; RENAME 1 su; UNLINK 0 old marked"},
		{"F", renamePlaces{0, 0, 1, 0}, "UNLINK 1 new su; RENAME 0 marked; MKNOD 1 new to 0 su"},
		{"G", renamePlaces{0, 0, 1, 2}, "MKNOD 1 old to 0 su; LINK 0 new; RENAME 1 su; UNLINK 0 old marked; UNLINK 2 new"},
		{"the linkto of the old name is where the new name hashes to", renamePlaces{1, 0, 1, none},
			"LINK 0 new; RENAME 1; UNLINK 0 old marked"},
		{"both on one subvolume that is not hashed for either", renamePlaces{1, 0, 1, 0},
			"UNLINK 1 new su; RENAME 0 marked; UNLINK 1 old su; MKNOD 1 new to 0 su"},
		{"a linkto is replaced by the file that it does not lead to", renamePlaces{0, 0, 0, 1}, "RENAME 0 marked; UNLINK 1 new"},
	} {
		p := planRename(c.at)
		var got []string
		for _, s := range p.before {
			got = append(got, stepText(s))
		}
		got = append(got, stepText(p.rename))
		want := strings.Split(c.steps, "; ")
		n := len(got)
		for _, s := range p.after {
			got = append(got, stepText(s))
		}
		slices.Sort(got[n:]) // they are sent at once
		slices.Sort(want[min(n, len(want)):])
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%v, want\n%v", c.name, got, want)
		}
	}
}

func stepText(s renameStep) string {
	text := fmt.Sprintf("%v %d", s.act, s.at)
	if s.act != actRename {
		text += map[bool]string{false: " old", true: " new"}[s.onDst]
	}
	if s.act == actLink {
		text = fmt.Sprintf("%v %d new", s.act, s.at)
	}
	if s.act == actMknod || s.act == actMknodBack {
		text += fmt.Sprintf(" to %d", s.target)
	}
	if s.marked {
		text += " marked"
	}
	if s.privileged {
		text += " su"
	}
	return text
}

// bricks is a model of what subvolumes have under the two names.
type bricks map[string]spot // "0 old"

type spot struct {
	file   string // "src" or "dst"
	linkto int    // none: data
}

func key(at int, onDst bool) string {
	return fmt.Sprintf("%d %s", at, map[bool]string{false: "old", true: "new"}[onDst])
}

func layOut(p renamePlaces) bricks {
	b := bricks{}
	b[key(p.srcCached, false)] = spot{"src", none}
	if p.srcHashed != p.srcCached {
		b[key(p.srcHashed, false)] = spot{"src", p.srcCached}
	}
	if p.dstCached != none {
		b[key(p.dstCached, true)] = spot{"dst", none}
		if p.dstHashed != p.dstCached {
			b[key(p.dstHashed, true)] = spot{"dst", p.dstCached}
		}
	}
	return b
}

func (b bricks) do(t *testing.T, s renameStep) {
	switch s.act {
	case actMknod:
		if e, taken := b[key(s.at, s.onDst)]; taken && e.linkto == none {
			t.Errorf("%s hits data", stepText(s))
		}
		b[key(s.at, s.onDst)] = spot{"src", s.target}
	case actMknodBack:
		b[key(s.at, s.onDst)] = spot{"dst", s.target}
	case actLink:
		if e, taken := b[key(s.at, true)]; taken && e.linkto == none {
			t.Errorf("%s hits data", stepText(s))
		}
		if b[key(s.at, false)] != (spot{"src", none}) {
			t.Errorf("%s: no data there", stepText(s))
		}
		b[key(s.at, true)] = spot{"src", none}
	case actRename:
		e, there := b[key(s.at, false)]
		if !there {
			t.Errorf("%s: nothing there", stepText(s))
		}
		delete(b, key(s.at, false))
		b[key(s.at, true)] = e
	case actUnlink:
		delete(b, key(s.at, s.onDst))
	}
}

// TestRenameModel plays all combinations of four subvolumes: the outcome must be
// right, and after a failure of any step all must be as it was.
func TestRenameModel(t *testing.T) {
	n := 0
	for sh := range 4 {
		for sc := range 4 {
			for dh := range 4 {
				for dc := -1; dc < 4; dc++ {
					n++
					at := renamePlaces{sh, sc, dh, dc}
					t.Run(fmt.Sprint(at), func(t *testing.T) { playRename(t, at) })
				}
			}
		}
	}
	if n != 320 {
		t.Errorf("%d combinations", n)
	}
}

func playRename(t *testing.T, at renamePlaces) {
	plan := planRename(at)
	b := layOut(at)
	for _, s := range plan.before {
		b.do(t, s)
	}
	b.do(t, plan.rename)
	if e, ok := b[key(at.dstHashed, true)]; ok && plan.rename.at == at.dstHashed && e.file != "src" {
		t.Errorf("the new name shows %v right after the rename", e)
	}
	for _, s := range plan.after {
		b.do(t, s)
	}
	want := bricks{key(at.srcCached, true): {"src", none}}
	if at.dstHashed != at.srcCached {
		want[key(at.dstHashed, true)] = spot{"src", at.srcCached}
	}
	if !maps.Equal(b, want) {
		t.Errorf("ends with %v, want %v", b, want)
	}
	for fail := range len(plan.before) + 1 {
		b := layOut(at)
		for _, s := range plan.before[:fail] {
			b.do(t, s)
		}
		for _, s := range plan.undo(fail) {
			b.do(t, s)
		}
		if !maps.Equal(b, layOut(at)) {
			t.Errorf("after failure of step %d: %v, want %v", fail, b, layOut(at))
		}
	}
	for _, s := range plan.after {
		if s.act == actMknod && s.at != plan.newLinkto {
			t.Errorf("%s gets no owner", stepText(s))
		}
	}
}
