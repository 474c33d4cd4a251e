package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every package says what it is, in one file: "Package x …", or for a program
// "Command x …".
func TestPackageComments(t *testing.T) {
	for _, p := range packages(t) {
		files := slices.Concat(p.GoFiles, p.CgoFiles)
		if len(files) == 0 {
			files = slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		}
		var texts []string
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Error(err)
				continue
			}
			if text := comment(f); text != "" {
				texts = append(texts, text)
			}
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command "
		}
		switch {
		case len(texts) == 0:
			t.Errorf("%s has no package comment", p.ImportPath)
		case len(texts) > 1:
			t.Errorf("%s has %d package comments; readers look for one", p.ImportPath, len(texts))
		case !strings.HasPrefix(strings.ReplaceAll(texts[0], "\n", " "), want):
			t.Errorf("the comment of %s begins %.40q, want %q", p.ImportPath, texts[0], want)
		}
	}
}

func comment(f *ast.File) string {
	if f.Doc == nil {
		return ""
	}
	return strings.TrimSpace(f.Doc.Text())
}
