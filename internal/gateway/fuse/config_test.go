package fuse

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wythefs/wythe/internal/mount"
)

// What makes no sense is refused by the name that people give it.
func TestConfig(t *testing.T) {
	for _, c := range []struct {
		edit func(*Config)
		says string
	}{
		{func(c *Config) { c.Session = nil }, "volume"},
		{func(c *Config) { c.Dir = "" }, "mount point"},
		{func(c *Config) { c.DirectIO = 9 }, "direct I/O mode"},
		{func(c *Config) { c.Transport = -1 }, "transport"},
		{func(c *Config) { c.ReaderThreads = 65 }, "reader-thread-count"},
		{func(c *Config) { c.BackgroundQueue = 65536 }, "background-qlen"},
		{func(c *Config) { c.CongestionThreshold = -1 }, "congestion-threshold"},
		{func(c *Config) { c.LRULimit = -1 }, "lru-limit"},
		{func(c *Config) { c.InvalidateLimit = -1 }, "invalidate-limit"},
		{func(c *Config) { c.AttrTimeout = -1 }, "attribute-timeout"},
		{func(c *Config) { c.GIDTimeout = -time.Second }, "gid-timeout"},
		{func(c *Config) { c.AttrTimesGranularity = 7 }, "attr-times-granularity"},
	} {
		cfg := Config{Session: new(mount.Session), Dir: "/mnt"}
		c.edit(&cfg)
		_, err := Mount(context.Background(), cfg)
		if !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("want an error about %s, got %v", c.says, err)
		}
	}
	good := Config{Session: new(mount.Session), Dir: "/mnt", Subdir: "//a/../b/", AttrTimesGranularity: 1000}
	if err := good.check(); err != nil || good.Subdir != "b" || good.BackgroundQueue != 64 || good.CongestionThreshold != 48 || good.Log == nil {
		t.Errorf("%+v: %v", good, err)
	}
	for _, tr := range []Transport{TransportAuto, TransportDev, TransportURing} {
		if got, err := ParseTransport(tr.String()); got != tr || err != nil {
			t.Errorf("ParseTransport(%q) = %v, %v", tr, got, err)
		}
	}
	if _, err := ParseTransport("pigeon"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("ParseTransport: %v", err)
	}
}
