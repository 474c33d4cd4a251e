package xlator

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for s, want := range map[string]int64{"512": 512, "64KB": 65536, "1.5MB": 3 << 19, "2g": 2 << 30, "0x10": 16} {
		if n, err := ParseSize(s); err != nil || n != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", s, n, err, want)
		}
	}
	for _, s := range []string{"", "x", "-1", "9999999999PB", "1ZB"} {
		if n, err := ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", s, n)
		}
	}
	for s, want := range map[string]time.Duration{"10": 10 * time.Second, "5m": 5 * time.Minute, "1.5h": 90 * time.Minute, "2days": 48 * time.Hour} {
		if d, err := ParseDuration(s); err != nil || d != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", s, d, err, want)
		}
	}
}

func TestOptionCheck(t *testing.T) {
	table := []Option{
		{Key: "event-threads", Kind: KindInt, Min: 1, Max: 1024},
		{Key: "auth.addr.*.allow"},
		{Key: "ctime", Kind: KindBool},
		{Key: "mode", OneOf: []string{"none", "syncfs"}},
	}
	for _, c := range []struct {
		key, val string
		ok       bool
	}{
		{"event-threads", "4", true}, {"event-threads", "0", false}, {"event-threads", "many", false},
		{"auth.addr./b/1.allow", "*", true}, {"ctime", "maybe", false}, {"ctime", "off", true},
		{"mode", "syncfs", true}, {"mode", "fast", false},
	} {
		o, found := Find(table, c.key)
		if !found {
			t.Errorf("%s is not found", c.key)
		}
		if err := o.Check(c.val); (err == nil) != c.ok {
			t.Errorf("%s=%s: %v, want ok %v", c.key, c.val, err, c.ok)
		}
	}
}
