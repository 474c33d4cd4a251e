package xlator

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Kind says what an option's text must look like.
type Kind int

// Kinds of option.
const (
	KindString   Kind = iota
	KindBool          // on, off, yes, no, true, false, enable, disable, 1, 0
	KindInt           // decimal, 0octal or 0xhex
	KindSize          // bytes, with KB, MB, GB, TB, PB or none
	KindDuration      // seconds, or 10s, 5m, 2h, 1d, 1w
	KindPercent       // number with or without %
	KindPath
)

// Option declares an option.
type Option struct {
	Key     string // with * for a part that varies, as in "auth.addr.*.allow"
	Kind    Kind
	Default string
	Min     int64
	Max     int64 // 0: no bound
	OneOf   []string
	// Ignored says why the option has no effect here; the graph logs it once
	// when the option is set to other than Default.
	Ignored string
}

// Options are the options of one translator by key, as text.
type Options map[string]string

// String returns the value of key, or def.
func (o Options) String(key, def string) string {
	if s, ok := o[key]; ok {
		return s
	}
	return def
}

// Bool returns the value of key, or def if it is absent or not a boolean.
func (o Options) Bool(key string, def bool) bool {
	if b, err := ParseBool(o[key]); err == nil {
		return b
	}
	return def
}

// Int returns the value of key, or def if it is absent or not a number.
func (o Options) Int(key string, def int64) int64 {
	if n, err := ParseInt(o[key]); err == nil {
		return n
	}
	return def
}

// Size returns the value of key in bytes, or def.
func (o Options) Size(key string, def int64) int64 {
	if n, err := ParseSize(o[key]); err == nil {
		return n
	}
	return def
}

// Duration returns the value of key, or def.
func (o Options) Duration(key string, def time.Duration) time.Duration {
	if d, err := ParseDuration(o[key]); err == nil {
		return d
	}
	return def
}

// ParseBool reads a boolean as volfiles write it.
func ParseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "on", "yes", "true", "enable", "1":
		return true, nil
	case "off", "no", "false", "disable", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a boolean (on or off): %w", s, syscall.EINVAL)
}

// ParseInt reads a number in C notation.
func ParseInt(s string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number: %w", s, syscall.EINVAL)
	}
	return n, nil
}

// ParseSize reads a number of bytes such as 64KB, 1.5MB or 512.
func ParseSize(s string) (int64, error) {
	t := strings.ToUpper(strings.TrimSpace(s))
	t = strings.TrimSuffix(t, "B")
	shift := 0
	if n := len(t); n > 0 {
		if i := strings.IndexByte("KMGTP", t[n-1]); i >= 0 {
			shift = 10 * (i + 1)
			t = t[:n-1]
		}
	}
	if n, err := strconv.ParseInt(t, 0, 64); err == nil {
		if n < 0 || n > (1<<62)>>shift {
			return 0, fmt.Errorf("size %q is out of range: %w", s, syscall.ERANGE)
		}
		return n << shift, nil
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil || f < 0 || f*float64(int64(1)<<shift) > 1<<62 {
		return 0, fmt.Errorf("%q is not a size such as 64KB: %w", s, syscall.EINVAL)
	}
	return int64(f * float64(int64(1)<<shift)), nil
}

// ParseDuration reads seconds, or a number with s, m, h, d or w ("10sec",
// "5min", "2hr", "1days" and "1weeks" too).
func ParseDuration(s string) (time.Duration, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	i := len(t)
	for i > 0 && (t[i-1] < '0' || t[i-1] > '9') {
		i--
	}
	unit, ok := map[string]time.Duration{
		"": time.Second, "s": time.Second, "sec": time.Second,
		"m": time.Minute, "min": time.Minute, "h": time.Hour, "hr": time.Hour,
		"d": 24 * time.Hour, "days": 24 * time.Hour,
		"w": 7 * 24 * time.Hour, "wk": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
		"ms": time.Millisecond,
	}[strings.TrimSpace(t[i:])]
	f, err := strconv.ParseFloat(strings.TrimSpace(t[:i]), 64)
	if err != nil || !ok || f < 0 || f*float64(unit) > 1<<62 {
		return 0, fmt.Errorf("%q is not a duration such as 10 or 5m: %w", s, syscall.EINVAL)
	}
	return time.Duration(f * float64(unit)), nil
}

// Find returns the declaration of key in table.
func Find(table []Option, key string) (Option, bool) {
	for _, o := range table {
		if o.Key == key || strings.Contains(o.Key, "*") && matchStar(o.Key, key) {
			return o, true
		}
	}
	return Option{}, false
}

func matchStar(pattern, s string) bool {
	head, tail, _ := strings.Cut(pattern, "*")
	return len(s) >= len(head)+len(tail) && strings.HasPrefix(s, head) && strings.HasSuffix(s, tail)
}

// Check reports what is wrong with value as a value of o, nil if nothing.
func (o Option) Check(value string) error {
	var n int64
	var err error
	switch o.Kind {
	case KindBool:
		_, err = ParseBool(value)
	case KindInt:
		n, err = ParseInt(value)
	case KindSize:
		n, err = ParseSize(value)
	case KindPercent:
		n, err = ParseInt(strings.TrimSuffix(value, "%"))
	case KindDuration:
		var d time.Duration
		d, err = ParseDuration(value)
		n = int64(d / time.Second)
	case KindPath:
		if !strings.HasPrefix(value, "/") {
			err = fmt.Errorf("%q is not an absolute path: %w", value, syscall.EINVAL)
		}
	}
	if err != nil {
		return fmt.Errorf("option %s: %w", o.Key, err)
	}
	if (o.Kind == KindInt || o.Kind == KindSize || o.Kind == KindDuration) && (n < o.Min || o.Max != 0 && n > o.Max) {
		return fmt.Errorf("option %s: %s is not between %d and %d: %w", o.Key, value, o.Min, o.Max, syscall.ERANGE)
	}
	if len(o.OneOf) > 0 {
		for _, s := range o.OneOf {
			if s == value {
				return nil
			}
		}
		return fmt.Errorf("option %s: %q is none of %s: %w", o.Key, value, strings.Join(o.OneOf, ", "), syscall.EINVAL)
	}
	return nil
}
