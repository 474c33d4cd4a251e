package graph

import (
	"fmt"
	"strconv"

	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
)

// check decides what becomes of a node with the options of v (its own volume,
// or that of a new volfile) and checks them. It sets typ, skipped and options.
func (g *Graph) check(n *node, v *volfile.Volume) error {
	typ, ok := g.reg[v.Type]
	if !ok {
		if err := canSkip(v); err != nil {
			return err
		}
		if len(v.Subvolumes) != 1 {
			return bad(v, fmt.Sprintf("of type %s has %d subvolumes", v.Type, len(v.Subvolumes)),
				"Wythe can leave it out only when there is exactly one")
		}
		n.skipped = true
		if g.logged.first("skipped", v.Name) {
			n.log.Info("translator is not implemented and left out: it only tunes or observes, or is switched off")
		}
		return nil
	}
	if err := childCount(v, typ); err != nil {
		return err
	}
	n.typ = typ
	options, err := g.options(n, v, typ)
	if err == nil {
		n.options = options
	}
	return err
}

func childCount(v *volfile.Volume, typ xlator.Type) error {
	n := len(v.Subvolumes)
	switch {
	case n < typ.MinChildren:
		return bad(v, fmt.Sprintf("of type %s has %d subvolumes, it needs %d", v.Type, n, typ.MinChildren), "add the missing ones")
	case typ.MaxChildren >= 0 && n > typ.MaxChildren:
		return bad(v, fmt.Sprintf("of type %s has %d subvolumes, it takes %d", v.Type, n, typ.MaxChildren), "remove the others")
	}
	return nil
}

// options checks the options of v against the declarations of typ.
func (g *Graph) options(n *node, v *volfile.Volume, typ xlator.Type) (xlator.Options, error) {
	options := make(xlator.Options, len(v.Options))
	for _, o := range v.Options {
		decl, known := xlator.Find(typ.Options, o.Key)
		switch {
		case o.Value == "":
			if g.logged.first("empty", v.Name+" "+o.Key) {
				n.log.Warn("option without a value is ignored", "option", o.Key)
			}
			continue
		case !known:
			if g.logged.first("unknown", v.Name+" "+o.Key) {
				n.log.Warn("option is unknown and ignored", "option", o.Key)
			}
			continue
		}
		if err := decl.Check(o.Value); err != nil {
			at := ""
			if o.Line > 0 {
				at = ", line " + strconv.Itoa(o.Line)
			}
			return nil, fmt.Errorf("volume %q (%s%s): option %s cannot be %q: %w; correct the volfile, or set or reset the option of the volume",
				v.Name, v.Type, at, o.Key, o.Value, err)
		}
		if decl.Ignored != "" && !sameValue(decl, o.Value) && g.logged.first("ignored", v.Name+" "+o.Key) {
			n.log.Warn("option has no effect", "option", o.Key, "value", o.Value, "why", decl.Ignored)
		}
		options[o.Key] = o.Value
	}
	return options, nil
}

// sameValue reports whether value is the default of an option, however it is
// written.
func sameValue(decl xlator.Option, value string) bool {
	if value == decl.Default {
		return true
	}
	switch decl.Kind {
	case xlator.KindBool:
		a, err := xlator.ParseBool(value)
		b, err2 := xlator.ParseBool(decl.Default)
		return err == nil && err2 == nil && a == b
	case xlator.KindInt:
		a, err := xlator.ParseInt(value)
		b, err2 := xlator.ParseInt(decl.Default)
		return err == nil && err2 == nil && a == b
	case xlator.KindSize:
		a, err := xlator.ParseSize(value)
		b, err2 := xlator.ParseSize(decl.Default)
		return err == nil && err2 == nil && a == b
	case xlator.KindDuration:
		a, err := xlator.ParseDuration(value)
		b, err2 := xlator.ParseDuration(decl.Default)
		return err == nil && err2 == nil && a == b
	}
	return false
}
