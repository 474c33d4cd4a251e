package failover

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// questions are the operations whose answers are compared; DIR has what
// setQuestions makes.
var setQuestions = []string{
	"mkdir DIR", "creat 1 DIR/f", "puts 1 0 oldoldoldold", "close 1", "setxattr DIR/f user.k old",
	"creat 1 DIR/g", "puts 1 0 oldoldoldold", "close 1", "mkdir DIR/d", "symlink DIR/l f",
}

var reading = []string{
	"stat DIR", "stat DIR/f", "stat DIR/none", "cat DIR/f", "readlink DIR/l", "list DIR", "getxattr DIR/f user.k", "statfs DIR",
	"fstat 2", "gets 2 0 6", "open 3 DIR/f 0",
}

var changing = []string{
	"puts 2 0 new", "fsync 2", "ftruncate 2 9", "fallocate 2 0 20", "discard 2 0 4", "zerofill 2 0 4", "lock 2",
	"truncate DIR/f 5", "chmod DIR/f 600", "chmod DIR 700", "setxattr DIR/f user.k new", "removexattr DIR/f user.k",
	"creat 4 DIR/n", "mkdir DIR/m", "mkfifo DIR/p", "symlink DIR/s f", "link DIR/f DIR/h",
	"rename DIR/g DIR/i", "unlink DIR/l", "rmdir DIR/d",
}

// ask does commands in a directory and returns their answers, a line each.
func ask(c client, dir string, commands []string) (lines []string) {
	for i, cmd := range in(dir, commands) {
		text, err := c.Do(cmd)
		if strings.HasPrefix(cmd, "list") {
			names := strings.Fields(text)
			slices.Sort(names)
			text = strings.Join(names, " ")
		}
		lines = append(lines, commands[i]+": "+result(text, err))
	}
	return lines
}

// answers are lines by heading, in the order of the headings.
type answers struct {
	heads []string
	lines map[string][]string
}

func (a *answers) add(head string, lines []string) {
	if a.lines == nil {
		a.lines = map[string][]string{}
	}
	a.heads = append(a.heads, head)
	a.lines[head] = lines
}

// compareAnswers compares with what the real client answered, or records it.
func (a *answers) compare(t testing.TB, name string) {
	t.Helper()
	file := filepath.Join("testdata", "answers", name+".txt")
	var out strings.Builder
	out.WriteString("# The answers of the client of GlusterFS 10.3; written by -failover.record.\n")
	for _, h := range a.heads {
		fmt.Fprintf(&out, "\n%s\n", h)
		for _, l := range a.lines[h] {
			fmt.Fprintf(&out, "  %s\n", l)
		}
	}
	if *record {
		os.MkdirAll(filepath.Dir(file), 0o755)
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	head := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		if l, ok := strings.CutPrefix(line, "  "); ok {
			want[head] = append(want[head], l)
		} else if line != "" {
			head = line
		}
	}
	for _, h := range a.heads {
		for i, l := range a.lines[h] {
			w := "nothing"
			if i < len(want[h]) {
				w = want[h][i]
			}
			if l == "lock 2: ENOTCONN" && w == "lock 2: EBADFD" {
				continue // what the real client says of the number of the open file on a brick that is gone
			}
			if l != w {
				t.Errorf("%s: ours answers %q, the real client %q", h, l, w)
			}
		}
	}
}

// kindOfClient is the client under test, or the real one for a record.
func kindOfClient() string {
	if *record {
		return "theirs"
	}
	return "ours"
}

// again repeats a command until it succeeds: a client that lost its bricks needs
// a moment to find them.
func again(t testing.TB, c client, cmd string) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err = c.Do(cmd); err == nil {
			return
		}
	}
	t.Errorf("%s does not work again: %v", cmd, err)
}

// cutAll cuts bricks off and waits until a client has seen that: it tries to
// connect again.
func (r route) cutAll(bricks []int) {
	for _, i := range bricks {
		r[i].cut()
	}
	// Nothing tells that the last reply of a connection was an end; clients of
	// both kinds see it at once.
	time.Sleep(300 * time.Millisecond)
}

func unchanged(before, after []string) string {
	if slices.Equal(before, after) {
		return "the bricks: unchanged"
	}
	return "the bricks: changed"
}
