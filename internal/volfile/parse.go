package volfile

import (
	"fmt"
	"strings"
	"syscall"
)

// Error says what is wrong with a volfile. It wraps EINVAL.
type Error struct {
	Line   int // 0 if the text as a whole is meant
	Msg    string
	Remedy string // what to do about it
}

func (e *Error) Error() string {
	var s string
	if e.Line > 0 {
		s = fmt.Sprintf("volfile line %d: %s", e.Line, e.Msg)
	} else {
		s = "volfile: " + e.Msg
	}
	if e.Remedy != "" {
		s += "; " + e.Remedy
	}
	return s
}

// Unwrap returns EINVAL.
func (e *Error) Unwrap() error { return syscall.EINVAL }

// The grammar. White space, line breaks included, separates words and means
// nothing else. A word is plain, or in double quotes: there a backslash takes
// away the meaning of the character after it, and line breaks vanish. A # where
// a word could begin starts a comment up to the end of the line. Keywords are
// lower case; in quotes they are words like others.
//
//	file   = volume { volume }
//	volume = "volume" WORD "type" WORD
//	         { "option" WORD WORD | "subvolumes" WORD { WORD } } "end-volume"
//
// with at most one "subvolumes" in a volume. An option that is given twice has
// the last value in the first place.

type tokenKind int

const (
	tokEnd tokenKind = iota
	tokWord
	tokVolume
	tokType
	tokOption
	tokSubvolumes
	tokEndVolume
)

var keywords = map[string]tokenKind{
	"volume": tokVolume, "type": tokType, "option": tokOption,
	"subvolumes": tokSubvolumes, "end-volume": tokEndVolume,
}

type token struct {
	kind tokenKind
	text string
	line int
}

// what says what a token is, for messages.
func (t token) what() string {
	if t.kind == tokEnd {
		return "the end of the text"
	}
	if len(t.text) > 64 {
		return fmt.Sprintf("%q…", t.text[:64])
	}
	return fmt.Sprintf("%q", t.text)
}

type scanner struct {
	text string
	pos  int
	line int
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func (s *scanner) next() (token, error) {
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		if c == '#' {
			n := strings.IndexByte(s.text[s.pos:], '\n')
			if n < 0 {
				s.pos = len(s.text)
				break
			}
			s.pos += n
			continue
		}
		if !isSpace(c) {
			break
		}
		if c == '\n' {
			s.line++
		}
		s.pos++
	}
	if s.pos == len(s.text) {
		return token{kind: tokEnd, line: s.line}, nil
	}
	if s.text[s.pos] == '"' {
		return s.quoted()
	}
	start := s.pos
	for s.pos < len(s.text) && !isSpace(s.text[s.pos]) && s.text[s.pos] != '"' {
		if s.text[s.pos] == '\\' {
			return token{}, &Error{s.line, "a backslash outside of quotes", `put the word in double quotes and write \\`}
		}
		s.pos++
	}
	t := token{tokWord, s.text[start:s.pos], s.line}
	if k, ok := keywords[t.text]; ok {
		t.kind = k
	}
	return t, checkWord(t)
}

func (s *scanner) quoted() (token, error) {
	t := token{kind: tokWord, line: s.line}
	var b strings.Builder
	for s.pos++; s.pos < len(s.text); s.pos++ {
		c := s.text[s.pos]
		switch {
		case c == '"':
			s.pos++
			t.text = b.String()
			return t, checkWord(t)
		case c == '\n':
			s.line++
			continue
		case c == '\\' && s.pos+1 < len(s.text):
			s.pos++
			if c = s.text[s.pos]; c == '\n' {
				s.line++
				continue
			}
		}
		b.WriteByte(c)
	}
	return token{}, &Error{t.line, "a double quote that is never closed", "close it"}
}

func checkWord(t token) error {
	if len(t.text) > MaxWord {
		return &Error{t.line, fmt.Sprintf("a word of %d bytes", len(t.text)), fmt.Sprintf("the limit is %d", MaxWord)}
	}
	if strings.IndexByte(t.text, 0) >= 0 {
		return &Error{t.line, "a NUL byte", "a volfile is text"}
	}
	return nil
}

type parser struct {
	scanner
	tok     token
	defined map[string]bool
}

// Parse reads a volfile.
func Parse(text string) (*File, error) {
	if len(text) > MaxSize {
		return nil, &Error{0, fmt.Sprintf("%d bytes long", len(text)), fmt.Sprintf("the limit is %d", MaxSize)}
	}
	if i := strings.IndexByte(text, '`'); i >= 0 {
		// GlusterFS runs what stands in backticks, wherever it stands; it does
		// not even leave comments and quotes out.
		return nil, &Error{1 + strings.Count(text[:i], "\n"), "command substitution (`…`) is not supported",
			"write the value itself, and no backtick in comments"}
	}
	p := &parser{scanner: scanner{text: text, line: 1}, defined: make(map[string]bool)}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.tok.kind == tokEnd {
		return nil, &Error{0, "it is empty", "it must define at least one volume"}
	}
	f := new(File)
	for p.tok.kind != tokEnd {
		v, err := p.volume()
		if err != nil {
			return nil, err
		}
		if len(f.Volumes) == MaxVolumes {
			return nil, &Error{v.Line, "too many volumes", fmt.Sprintf("the limit is %d", MaxVolumes)}
		}
		f.Volumes = append(f.Volumes, v)
	}
	return f, nil
}

func (p *parser) advance() (err error) {
	p.tok, err = p.next()
	return err
}

// word takes the current token as a word, or says what should be there.
func (p *parser) word(what, remedy string) (string, error) {
	if p.tok.kind != tokWord {
		return "", &Error{p.tok.line, fmt.Sprintf("%s where %s should be", p.tok.what(), what), remedy}
	}
	s := p.tok.text
	return s, p.advance()
}

func (p *parser) volume() (*Volume, error) {
	v := &Volume{Line: p.tok.line}
	if p.tok.kind != tokVolume {
		return nil, &Error{p.tok.line, fmt.Sprintf("%s where \"volume\" should be", p.tok.what()),
			"a volfile is a row of volume … end-volume"}
	}
	err := p.advance()
	if err != nil {
		return nil, err
	}
	if v.Name, err = p.word("the name of a volume", "write: volume NAME"); err != nil {
		return nil, err
	}
	if v.Name == "" {
		return nil, &Error{v.Line, "a volume with an empty name", "write: volume NAME"}
	}
	if p.defined[v.Name] {
		return nil, &Error{v.Line, fmt.Sprintf("volume %q is defined again", v.Name), "give it another name"}
	}
	if p.tok.kind != tokType {
		return nil, &Error{p.tok.line, fmt.Sprintf("volume %q has no type but %s", v.Name, p.tok.what()),
			"write: type TYPE right after the name"}
	}
	if err = p.advance(); err != nil {
		return nil, err
	}
	if v.Type, err = p.word("the type of a volume", "write: type TYPE"); err != nil {
		return nil, err
	}
	if err = p.body(v); err != nil {
		return nil, err
	}
	p.defined[v.Name] = true
	return v, nil
}

// body reads options and subvolumes up to and with end-volume.
func (p *parser) body(v *Volume) error {
	place := make(map[string]int)
	for {
		line := p.tok.line
		kind := p.tok.kind
		if kind != tokOption && kind != tokSubvolumes && kind != tokEndVolume {
			if kind == tokType {
				return &Error{line, fmt.Sprintf("volume %q has a second type", v.Name), "leave one of them"}
			}
			return &Error{line, fmt.Sprintf("%s in volume %q", p.tok.what(), v.Name),
				"here must stand option, subvolumes or end-volume; words with blanks need double quotes"}
		}
		if err := p.advance(); err != nil {
			return err
		}
		switch kind {
		case tokEndVolume:
			return nil
		case tokOption:
			o := Option{Line: line}
			var err error
			if o.Key, err = p.word("the key of an option", "write: option KEY VALUE"); err != nil {
				return err
			}
			if o.Key == "" {
				return &Error{line, "an option with an empty key", "write: option KEY VALUE"}
			}
			if o.Value, err = p.word(fmt.Sprintf("the value of option %q", o.Key), "write: option KEY VALUE"); err != nil {
				return err
			}
			if i, ok := place[o.Key]; ok {
				v.Options[i] = o
			} else {
				place[o.Key] = len(v.Options)
				v.Options = append(v.Options, o)
			}
		case tokSubvolumes:
			if len(v.Subvolumes) > 0 {
				return &Error{line, fmt.Sprintf("volume %q has subvolumes a second time", v.Name), "name all of them in one line"}
			}
			if err := p.subvolumes(v); err != nil {
				return err
			}
		}
	}
}

func (p *parser) subvolumes(v *Volume) error {
	for first := true; first || p.tok.kind == tokWord; first = false {
		line := p.tok.line
		s, err := p.word("the name of a subvolume", "write: subvolumes NAME …, or leave the line out")
		if err != nil {
			return err
		}
		if s == v.Name {
			return &Error{line, fmt.Sprintf("volume %q is its own subvolume", v.Name), "name another one"}
		}
		if !p.defined[s] {
			return &Error{line, fmt.Sprintf("subvolume %q of volume %q is not defined before it", s, v.Name),
				"define it further up or correct the name"}
		}
		v.Subvolumes = append(v.Subvolumes, s)
	}
	return nil
}
