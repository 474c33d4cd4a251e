package meta

import (
	"cmp"
	"crypto/sha256"
	"path"
	"slices"
	"strconv"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// object is something in .meta.
type object struct {
	gfid     fop.GFID
	name     string
	mode     uint32
	parent   *object
	children []*object               // of a directory, sorted by name
	text     func() string           // of a file or symbolic link
	write    func(data string) error // of a file that can be written
	index    map[string]*object      // of children
}

// tree is all of .meta as one graph has it.
type tree struct {
	top *object
	all map[fop.GFID]*object
}

// The first bytes of the GFIDs of all objects. They have the version 8 of
// RFC 9562, for what somebody has made up, while those of files are random,
// version 4.
var prefix = [8]byte{'.', 'm', 'e', 't', 'a', '/', 0x80, 0}

// isMeta reports whether a GFID is that of an object of .meta.
func isMeta(g fop.GFID) bool { return [8]byte(g[:8]) == prefix }

func gfidOf(path string) fop.GFID {
	var g fop.GFID
	sum := sha256.Sum256([]byte(path))
	copy(g[:], prefix[:])
	copy(g[8:], sum[:8])
	g[8] = g[8]&0x3f | 0x80
	return g
}

func dir(name string, children ...*object) *object {
	return &object{name: name, mode: fop.ModeDir | 0o555, children: children}
}

func file(name string, text func() string) *object {
	return &object{name: name, mode: fop.ModeRegular | 0o444, text: text}
}

func link(name string, target string) *object {
	return &object{name: name, mode: fop.ModeSymlink | 0o777, text: func() string { return target }}
}

// plant makes the tree.
func (m *meta) plant() *tree {
	latency := file("measure_latency", m.measuring)
	latency.mode, latency.write = fop.ModeRegular|0o644, m.setMeasuring
	level := file("loglevel", m.logLevel)
	level.mode, level.write = fop.ModeRegular|0o644, m.setLogLevel
	logging := dir("logging", level)
	if m.env.LogFile != "" {
		logging.children = append(logging.children, link("logfile", m.env.LogFile))
	}
	top := dir(m.dir,
		file("cmdline", commandLine), file("frames", m.frames), m.graphs(), logging, file("mallinfo", mallinfo),
		latency, file("process_uuid", func() string { return m.env.ProcessUUID + "\n" }), file("version", version))
	if m.env.Master != nil {
		v := m.env.Master()
		top.children = append(top.children, m.volume("root", v, m.env.Master))
	}
	t := &tree{top: top, all: make(map[fop.GFID]*object)}
	t.grow(nil, top, m.dir)
	return t
}

// grow gives an object and all below it GFIDs and has them found.
func (t *tree) grow(parent, o *object, at string) {
	o.gfid, o.parent = gfidOf(at), parent
	t.all[o.gfid] = o
	slices.SortFunc(o.children, func(a, b *object) int { return cmp.Compare(a.name, b.name) })
	o.index = make(map[string]*object, len(o.children))
	for _, c := range o.children {
		o.index[c.name] = c
		t.grow(o, c, path.Join(at, c.name))
	}
}

// graphs is the directory of graphs. There is only one that serves; those that
// are being taken down do not show.
func (m *meta) graphs() *object {
	if m.graph == nil {
		return dir("graphs")
	}
	vols := m.graph.Volumes()
	g := dir(m.graph.Name(), file("volfile", m.graph.Volfile))
	for i, v := range vols {
		if i == 0 {
			g.children = append(g.children, link("top", v.Name))
		}
		g.children = append(g.children, m.volume(v.Name, v, func() xlator.Volume { return m.find(v) }))
	}
	return dir("graphs", link("active", g.name), g)
}

// find returns a volume as it is by now: options change while a graph runs.
func (m *meta) find(v xlator.Volume) xlator.Volume {
	for _, now := range m.graph.Volumes() {
		if now.Name == v.Name {
			return now
		}
	}
	return v
}

// volume is the directory of one translator.
func (m *meta) volume(name string, v xlator.Volume, now func() xlator.Volume) *object {
	options := dir("options")
	for _, o := range v.Options {
		options.children = append(options.children, file(o.Key, func() string { return option(now(), o.Key) }))
	}
	subvolumes := dir("subvolumes")
	for i, s := range v.Subvolumes {
		subvolumes.children = append(subvolumes.children, link(strconv.Itoa(i), "../../"+s))
	}
	return dir(name,
		file("history", func() string { return "" }),
		file("meminfo", func() string { return "[" + v.Type + "." + v.Name + " - Memory usage]\nnum_types = 0\n" }),
		file("name", func() string { return v.Name + "\n" }),
		options,
		file("private", func() string { return private(now()) }),
		file("profile", func() string { return m.profile(v) }),
		subvolumes,
		file("type", func() string { return v.Type + "\n" }),
		dir("view"))
}
