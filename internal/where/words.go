package where

import (
	"fmt"
	"strings"
)

// Words says what marks mean, one sentence each; none for a clean copy.
func (c *Copy) Words() []string {
	var all []string
	for _, b := range c.Pending {
		who := "brick " + b.Brick + " misses "
		if b.Client == c.Client {
			who = "it misses itself "
		}
		all = append(all, who+b.words())
	}
	if c.Dirty != nil {
		all = append(all, c.Dirty.words()+" begun here may not have been finished everywhere (dirty)")
	}
	return all
}

// words counts the changes: "2 data changes and 1 metadata change".
func (m Marks) words() string {
	var parts []string
	for _, p := range []struct {
		n    uint32
		what string
	}{{m.Data, "data"}, {m.Metadata, "metadata"}, {m.Entry, "entry"}} {
		switch {
		case p.n == 1:
			parts = append(parts, "1 "+p.what+" change")
		case p.n > 1:
			parts = append(parts, fmt.Sprintf("%d %s changes", p.n, p.what))
		}
	}
	return strings.Join(parts, " and ")
}

// State sums a copy up in a word or two.
func (c *Copy) State() string {
	switch {
	case !c.Up:
		return "down"
	case c.Error != "":
		return "error"
	case !c.Exists:
		return "absent"
	case c.Linkto != "":
		return "link file"
	case len(c.Pending) > 0 || c.Dirty != nil:
		return "marked"
	}
	return "clean"
}
