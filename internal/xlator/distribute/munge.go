package distribute

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"unicode/utf8"
)

// rsyncRegex is the default of rsync-hash-regex: the names that rsync gives to
// a file while it writes it, such as .motd.Xa3d9f.
const rsyncRegex = `^\.(.+)\.[^.]+$`

// munge returns the part of a name that is hashed. Programs that write a file
// under a temporary name and rename it in the end shall have it placed by its
// final name at once; the options extra-hash-regex and rsync-hash-regex tell
// the one from the other by their first group. As the C library's matcher in a
// UTF-8 locale does, they never match what is not UTF-8.
func (d *distribute) munge(name string) string { return d.set.Load().munge(name) }

func (s *settings) munge(name string) string {
	if s.extraRegex != nil {
		if part, ok := match(s.extraRegex, name); ok {
			return part
		}
	}
	if s.rsyncDefault {
		if part, ok := rsyncPart(name); ok {
			return part
		}
	} else if s.rsyncRegex != nil {
		if part, ok := match(s.rsyncRegex, name); ok {
			return part
		}
	}
	return name
}

// match returns the first group.
func match(re *regexp.Regexp, name string) (string, bool) {
	if !utf8.ValidString(name) {
		return "", false
	}
	m := re.FindStringSubmatchIndex(name)
	if len(m) < 4 || m[2] < 0 {
		return "", false
	}
	return name[m[2]:m[3]], true
}

// rsyncPart is match of rsyncRegex.
func rsyncPart(name string) (string, bool) {
	if name == "" || name[0] != '.' {
		return "", false
	}
	last := strings.LastIndexByte(name, '.')
	if last < 2 || last == len(name)-1 || !utf8.ValidString(name) {
		return "", false
	}
	return name[1:last], true
}

// regex compiles the text of an option; a bad one is as good as none, and
// "none" turns it off.
func (d *distribute) regex(key, text string) *regexp.Regexp {
	if text == "" || strings.EqualFold(text, "none") {
		return nil
	}
	re, err := compileRegex(text)
	if err != nil {
		d.log.Warn("a regular expression is not one; names are hashed without it", "option", key, "value", text, "err", err)
		return nil
	}
	return re
}

// compileRegex compiles a POSIX extended regular expression as regcomp(3) would
// without flags: the longest match counts, lines mean nothing, and a backslash
// between brackets is itself.
func compileRegex(text string) (*regexp.Regexp, error) {
	if len(text) > 4096 {
		return nil, fmt.Errorf("a regular expression of %d bytes: %w", len(text), syscall.EINVAL)
	}
	var b strings.Builder
	b.WriteString("(?s)")
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			b.WriteString(text[i : i+2])
			i++
		case c == '(' && strings.HasPrefix(text[i:], "(?"):
			return nil, fmt.Errorf("%q: nothing stands before the question mark: %w", text, syscall.EINVAL)
		case c == '[':
			n := bracketLen(text[i:])
			b.WriteString(strings.ReplaceAll(text[i:i+n], `\`, `\\`))
			i += n - 1
		default:
			b.WriteByte(c)
		}
	}
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, syscall.EINVAL)
	}
	re.Longest()
	return re, nil
}

// bracketLen is the length of the bracket expression that s begins with, all
// of s if it does not end.
func bracketLen(s string) int {
	i := 1
	if i < len(s) && s[i] == '^' {
		i++
	}
	if i < len(s) && s[i] == ']' {
		i++
	}
	for ; i < len(s); i++ {
		switch {
		case s[i] == ']':
			return i + 1
		case s[i] == '[' && i+1 < len(s) && s[i+1] == ':':
			if j := strings.Index(s[i:], ":]"); j > 0 {
				i += j + 1
			}
		}
	}
	return len(s)
}
