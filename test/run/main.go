// Command run is the second half of `make test`: it runs all tests of the
// module in two rounds and ends with a list of what was skipped.
//
// The first round has the race detector on and covers everything but the
// packages that are about whole processes, others' programs and time (those below
// test/ but for test/robust, and internal/brick/check, which kills bricks); the
// second round runs those without it. Passing tests are one line per package; failing ones show
// what they wrote. With WYTHE_TEST_ALL=1 a skipped test counts as a failure.
//
// Arguments are package patterns in place of ./..., for example
// `go run ./test/run ./internal/...`.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// event is one line of `go test -json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Elapsed    float64
}

type skip struct{ pkg, test, why string }

type report struct {
	passed, failed int
	skips          []skip
	badPackages    []string
	output         map[string]*strings.Builder // by package and test
}

func main() {
	patterns := os.Args[1:]
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	goCmd := cmp.Or(os.Getenv("GO"), "go")
	out, err := exec.Command(goCmd, append([]string{"list"}, patterns...)...).Output()
	if err != nil {
		fatal("go list: %v", err)
	}
	var plain, slow []string
	for pkg := range strings.FieldsSeq(string(out)) {
		if ownRound(pkg) {
			slow = append(slow, pkg)
		} else {
			plain = append(plain, pkg)
		}
	}
	// Tests wait more than they compute: for time-outs, heals, the daemons of others.
	// Those with real peers have limits that a machine with too much to do misses.
	cpus := runtime.NumCPU()
	many, some := fmt.Sprintf("-p=%d", 2*cpus), fmt.Sprintf("-p=%d", cpus+1)
	start := time.Now()
	r := &report{output: map[string]*strings.Builder{}}
	if err := compiler(goCmd); err == nil {
		r.round(goCmd, "with the race detector", plain, "-race", many, "-timeout=20m")
	} else {
		r.skips = append(r.skips, skip{"./...", "race detector", err.Error()})
		r.round(goCmd, "without the race detector", plain, many, "-timeout=20m")
	}
	r.round(goCmd, "with real peers", slow, some, "-timeout=25m")
	os.Exit(r.close(time.Since(start)))
}

// compiler reports what keeps the race detector from working.
func compiler(goCmd string) error {
	cc, err := exec.Command(goCmd, "env", "CC").Output()
	if err != nil {
		return err
	}
	words := strings.Fields(string(cc))
	if len(words) == 0 {
		return errors.New("go knows no C compiler")
	}
	_, err = exec.LookPath(words[0])
	return err
}

// ownRound tells the packages that run without the race detector.
func ownRound(pkg string) bool {
	if strings.HasSuffix(pkg, "/test/robust") {
		return false
	}
	for _, dir := range []string{"/test/", "/internal/brick/check/"} {
		if strings.Contains(pkg+"/", dir) {
			return true
		}
	}
	return false
}

func fatal(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "test/run: "+format+"\n", args...)
	os.Exit(1)
}

// round runs go test on the packages and collects what happened.
func (r *report) round(goCmd, title string, pkgs []string, flags ...string) {
	if len(pkgs) == 0 {
		return
	}
	fmt.Printf("== %s: %d packages\n", title, len(pkgs))
	// Vet has looked at everything before (make check).
	cmd := exec.Command(goCmd, slices.Concat([]string{"test", "-json", "-count=1", "-vet=off"}, flags, pkgs)...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		fatal("%v", err)
	}
	if err := cmd.Start(); err != nil {
		fatal("%v", err)
	}
	before := len(r.badPackages)
	in := bufio.NewReader(pipe)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil {
				r.add(e)
			} else {
				os.Stdout.Write(line)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			fatal("reading go test: %v", err)
		}
	}
	if err := cmd.Wait(); err != nil && len(r.badPackages) == before {
		r.badPackages = append(r.badPackages, "go test: "+err.Error())
	}
}

func (r *report) add(e event) {
	key := e.Package + "\x00" + e.Test
	switch e.Action {
	case "build-output":
		fmt.Print(e.Output)
	case "output":
		b := r.output[key]
		if b == nil {
			b = new(strings.Builder)
			r.output[key] = b
		}
		b.WriteString(e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.packageDone(e)
		} else {
			r.testDone(e, key)
		}
	}
}

func (r *report) testDone(e event, key string) {
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed++
		fmt.Printf("--- FAIL %s %s (%.1fs)\n%s", e.Package, e.Test, e.Elapsed, r.text(key))
	case "skip":
		r.skips = append(r.skips, skip{e.Package, e.Test, reason(r.text(key))})
	}
	delete(r.output, key)
}

func (r *report) packageDone(e event) {
	switch e.Action {
	case "pass":
		fmt.Printf("ok    %s (%.1fs)\n", e.Package, e.Elapsed)
	case "fail":
		r.badPackages = append(r.badPackages, e.Package)
		// What a test that never ended wrote, and a panic's or a time-out's stack.
		for key, b := range r.output {
			if strings.HasPrefix(key, e.Package+"\x00") {
				fmt.Print(b.String())
			}
		}
		fmt.Printf("FAIL  %s (%.1fs)\n", e.Package, e.Elapsed)
	}
	for key := range r.output {
		if strings.HasPrefix(key, e.Package+"\x00") {
			delete(r.output, key)
		}
	}
}

func (r *report) text(key string) string {
	if b := r.output[key]; b != nil {
		return b.String()
	}
	return ""
}

// reason picks the words of t.Skip out of what a test wrote.
func reason(text string) string {
	words := ""
	for line := range strings.SplitSeq(text, "\n") {
		if _, after, ok := strings.Cut(line, ".go:"); ok {
			if _, msg, ok := strings.Cut(after, ": "); ok {
				words = msg
			}
		}
	}
	return words
}

// close prints the summary and returns the exit code.
func (r *report) close(took time.Duration) int {
	all := os.Getenv("WYTHE_TEST_ALL") == "1"
	if len(r.skips) > 0 {
		fmt.Println("\nSkipped:")
		for _, s := range r.skips {
			fmt.Printf("  %s %s: %s\n", s.pkg, s.test, s.why)
		}
		if all {
			fmt.Println("WYTHE_TEST_ALL=1: a skipped test is a failure.")
		}
	} else {
		fmt.Println("\nNothing was skipped.")
	}
	if len(r.badPackages) > 0 {
		fmt.Println("Failed packages:")
		for _, p := range r.badPackages {
			fmt.Println("  " + p)
		}
	}
	failed := max(r.failed, len(r.badPackages))
	fmt.Printf("Took %v.\n%d passed, %d failed, %d skipped\n", took.Round(time.Second), r.passed, failed, len(r.skips))
	if failed > 0 || all && len(r.skips) > 0 || r.passed == 0 {
		return 1
	}
	return 0
}
