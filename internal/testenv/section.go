package testenv

import (
	"bytes"
	"fmt"
	"os"
	"slices"
)

// SectionMarks are the lines around a part of a document that a program writes.
func SectionMarks(name string) (begin, end string) {
	return "<!-- begin " + name + " -->\n", "<!-- end " + name + " -->\n"
}

// WriteSection replaces what is between the marks of a section.
func WriteSection(document, name, text string) error {
	all, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	begin, end := SectionMarks(name)
	before, rest, ok := bytes.Cut(all, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q", document, begin, end)
	}
	return os.WriteFile(document, slices.Concat(before, []byte(begin), []byte(text), []byte(end), after), 0o644)
}
