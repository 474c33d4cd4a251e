// Package volfile reads, writes and compares volfiles: the texts that say of
// which translators a process of GlusterFS is built, with which options, one
// above the other.
//
//	volume data-client-0
//	    type protocol/client
//	    option remote-host 10.7.1.99
//	    option remote-subvolume /bricks/data
//	end-volume
//
//	volume data
//	    type debug/io-stats
//	    subvolumes data-client-0
//	end-volume
//
// What it promises:
//
//   - Parse takes every text that GlusterFS 10.3 takes and means the same by it,
//     but for what would be an accident or a danger: commands in backticks, and
//     subvolumes that do not exist.
//   - File.String of a parsed text that glusterd wrote is that text, byte for
//     byte.
//   - No text makes Parse panic, loop or take more memory than a small multiple
//     of its size; what is wrong is told with the line and the remedy.
//
// A volume may only name volumes above it in the text, so a parsed File has no
// cycles, and its last volume is the top.
//
// The package knows no translators: types and options are words. Read next
// parse.go for the grammar, compare.go for what a changed volfile asks of a
// running process, then internal/graph, which builds the stack.
package volfile

import "strings"

// Limits of what Parse takes.
const (
	MaxSize    = 16 << 20 // bytes of text
	MaxVolumes = 1 << 16
	MaxWord    = 64 << 10 // bytes of a name, key or value
)

// File is a volfile.
type File struct {
	Volumes []*Volume // leaves first, the top last
}

// Volume is one node of the graph.
type Volume struct {
	Name string
	Type string // as in "cluster/distribute"
	// Options stand in the order of the text. Keys are unique in what Parse
	// returns.
	Options    []Option
	Subvolumes []string
	Line       int // where it begins in the text, 0 if it was not parsed
}

// Option is one option of a volume.
type Option struct {
	Key, Value string
	Line       int
}

// Top returns the volume at the top, the last one, or nil of an empty File.
func (f *File) Top() *Volume {
	if f == nil || len(f.Volumes) == 0 {
		return nil
	}
	return f.Volumes[len(f.Volumes)-1]
}

// Volume returns the volume of that name, nil if there is none.
func (f *File) Volume(name string) *Volume {
	if f == nil {
		return nil
	}
	for _, v := range f.Volumes {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// Clone returns a copy that shares nothing with f.
func (f *File) Clone() *File {
	c := &File{Volumes: make([]*Volume, len(f.Volumes))}
	for i, v := range f.Volumes {
		w := *v
		w.Options = append([]Option(nil), v.Options...)
		w.Subvolumes = append([]string(nil), v.Subvolumes...)
		c.Volumes[i] = &w
	}
	return c
}

// Get returns the value of an option.
func (v *Volume) Get(key string) (string, bool) {
	for i := range v.Options {
		if v.Options[i].Key == key {
			return v.Options[i].Value, true
		}
	}
	return "", false
}

// Set gives an option a value: in its place if it is there, else before all
// others, which is how glusterd orders what it writes.
func (v *Volume) Set(key, value string) {
	for i := range v.Options {
		if v.Options[i].Key == key {
			v.Options[i].Value = value
			return
		}
	}
	v.Options = append(v.Options, Option{})
	copy(v.Options[1:], v.Options)
	v.Options[0] = Option{Key: key, Value: value}
}

// Delete removes an option and reports whether it was there.
func (v *Volume) Delete(key string) bool {
	for i := range v.Options {
		if v.Options[i].Key == key {
			v.Options = append(v.Options[:i], v.Options[i+1:]...)
			return true
		}
	}
	return false
}

// String returns the text of the volfile as glusterd writes it.
func (f *File) String() string { return string(f.Append(nil)) }

// Append appends the text of the volfile to b.
func (f *File) Append(b []byte) []byte {
	for i, v := range f.Volumes {
		if i > 0 {
			b = append(b, '\n')
		}
		b = append(b, "volume "...)
		b = appendWord(b, v.Name)
		b = append(b, "\n    type "...)
		b = appendWord(b, v.Type)
		for _, o := range v.Options {
			b = append(b, "\n    option "...)
			b = appendWord(b, o.Key)
			b = append(b, ' ')
			b = appendWord(b, o.Value)
		}
		if len(v.Subvolumes) > 0 {
			b = append(b, "\n    subvolumes"...)
			for _, s := range v.Subvolumes {
				b = append(b, ' ')
				b = appendWord(b, s)
			}
		}
		b = append(b, "\nend-volume\n"...)
	}
	return b
}

// appendWord writes a word, in quotes if it would otherwise not be read back
// as one word.
func appendWord(b []byte, s string) []byte {
	_, keyword := keywords[s]
	if s != "" && !keyword && s[0] != '#' && !strings.ContainsAny(s, " \t\r\n\"\\") {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}
