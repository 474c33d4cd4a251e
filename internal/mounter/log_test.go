package mounter

import (
	"bytes"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

func TestLogLines(t *testing.T) {
	var b bytes.Buffer
	level := new(slog.LevelVar)
	log := slog.New(newLineHandler(&b, level, false))
	for _, c := range []struct {
		log  func()
		want string // after the time
	}{
		{func() { log.Info("text") }, `I \[log_test.go:\d+:func\d\] 0-glusterfs: text`},
		{func() { log.With("volume", "data").Warn("text", "err", errors.New("no")) }, `W \[.*\] 0-data: text \[{err=no}\]`},
		{func() { log.WithGroup("g").With("a", 1).Error("x", "b", "two words", slog.Group("h", "c", 3)) }, `E \[.*\] 0-glusterfs: x \[{g.a=1}, {g.b=two words}, {g.h.c=3}\]`},
		{func() { log.Info("two\nlines", "v", "x\ty\"") }, `I \[.*\] 0-glusterfs: two\\nlines \[{v=x\\ty"}\]`},
		{func() { log.Debug("not now") }, ""},
		{func() { level.Set(slog.LevelError); log.Warn("nor now"); level.Set(slog.LevelInfo) }, ""},
		{func() { log.Log(t.Context(), slog.LevelError+4, "end") }, `C \[.*\] 0-glusterfs: end`},
	} {
		b.Reset()
		c.log()
		if c.want == "" {
			if b.Len() > 0 {
				t.Errorf("logged although the level is above: %s", &b)
			}
			continue
		}
		want := `^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} \+0000\] ` + c.want + "\n$"
		if !regexp.MustCompile(want).MatchString(b.String()) {
			t.Errorf("%q is not %s", b.String(), want)
		}
		if strings.Count(b.String(), "\n") != 1 {
			t.Errorf("%q is not one line", b.String())
		}
	}
}
