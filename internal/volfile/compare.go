package volfile

import (
	"fmt"
	"maps"
	"slices"
	"sort"
)

// Same reports whether two volfiles describe the same graph with the same
// options. The order of options does not matter, that of volumes does.
func Same(a, b *File) bool {
	if !SameTopology(a, b) {
		return false
	}
	for i, v := range a.Volumes {
		if !maps.Equal(v.byKey(), b.Volumes[i].byKey()) {
			return false
		}
	}
	return true
}

func (v *Volume) byKey() map[string]string {
	m := make(map[string]string, len(v.Options))
	for _, o := range v.Options {
		m[o.Key] = o.Value
	}
	return m
}

// SameTopology reports whether two volfiles have the same volumes of the same
// types one above the other, so that a running graph of one becomes that of the
// other by new options alone.
func SameTopology(a, b *File) bool {
	if a == nil || b == nil || len(a.Volumes) != len(b.Volumes) {
		return false
	}
	for i, v := range a.Volumes {
		w := b.Volumes[i]
		if v.Name != w.Name || v.Type != w.Type || !slices.Equal(v.Subvolumes, w.Subvolumes) {
			return false
		}
	}
	return true
}

// Change is one option that differs between two volfiles.
type Change struct {
	Volume, Type string
	Key          string
	Old, New     string
	Had, Has     bool // whether it was, and is, set at all
}

// String describes the change for a log, without the value of passwords.
func (c Change) String() string {
	old, new := c.Old, c.New
	if Secret(c.Key) {
		old, new = "…", "…"
	}
	switch {
	case !c.Had:
		return fmt.Sprintf("%s: %s %s added", c.Volume, c.Key, new)
	case !c.Has:
		return fmt.Sprintf("%s: %s %s removed", c.Volume, c.Key, old)
	}
	return fmt.Sprintf("%s: %s %s instead of %s", c.Volume, c.Key, new, old)
}

// Changes lists the options that differ, of volumes that both files have by
// name, in the order of b's volumes and then by key.
func Changes(a, b *File) []Change {
	olds := make(map[string]*Volume, len(a.Volumes))
	for _, v := range a.Volumes {
		olds[v.Name] = v
	}
	var all []Change
	for _, w := range b.Volumes {
		v := olds[w.Name]
		if v == nil {
			continue
		}
		n := len(all)
		before, after := v.byKey(), w.byKey()
		for _, o := range w.Options {
			if old, had := before[o.Key]; !had || old != o.Value {
				all = append(all, Change{w.Name, w.Type, o.Key, old, o.Value, had, true})
			}
		}
		for _, o := range v.Options {
			if _, has := after[o.Key]; !has {
				all = append(all, Change{w.Name, w.Type, o.Key, o.Value, "", true, false})
			}
		}
		mine := all[n:]
		sort.Slice(mine, func(i, j int) bool { return mine[i].Key < mine[j].Key })
	}
	return all
}
