// Package delaygen is the translator "debug/delay-gen" (GlusterFS 10.3,
// xlators/debug/delay-gen): it lets fops wait before it passes them on, for
// tests of what stands above. Options as in GlusterFS:
//
//	delay-percentage  percent of calls that wait; 10 otherwise
//	delay-duration    for how long, in microseconds; 100000 otherwise
//	enable            fops that wait, by name, separated by commas; all without it
//
// A call whose context ends while it waits fails.
package delaygen

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Type is the translator.
var Type = xlator.Type{
	Name: "debug/delay-gen",
	New:  New,
	Options: []xlator.Option{
		{Key: "delay-percentage", Kind: xlator.KindPercent, Default: "10%"},
		{Key: "delay-duration", Kind: xlator.KindInt, Default: "100000"},
		{Key: "enable", Kind: xlator.KindString},
	},
	MinChildren: 1,
	MaxChildren: 1,
}

type delayGen struct {
	child fop.Handler
	conf  atomic.Pointer[config]

	mu  sync.Mutex
	rnd *rand.Rand // the same in every run
}

type config struct {
	percent float64
	wait    time.Duration
	fops    map[fop.Op]bool // nil: all
}

// New makes the translator.
func New(c xlator.Config) (fop.Handler, error) {
	d := &delayGen{child: c.Children[0].Handler, rnd: rand.New(rand.NewPCG(3, 4))}
	return d, d.Reconfigure(c.Options)
}

// Reconfigure takes new options.
func (d *delayGen) Reconfigure(o xlator.Options) error {
	conf := &config{percent: 10, wait: time.Duration(o.Int("delay-duration", 100_000)) * time.Microsecond}
	if p := strings.TrimSuffix(strings.TrimSpace(o["delay-percentage"]), "%"); p != "" {
		n, err := strconv.ParseFloat(p, 64)
		if err != nil || n < 0 || n > 100 {
			return fmt.Errorf("option delay-percentage: %q is no percentage: %w", o["delay-percentage"], syscall.EINVAL)
		}
		conf.percent = n
	}
	if conf.wait < 0 {
		return fmt.Errorf("option delay-duration: %q is negative: %w", o["delay-duration"], syscall.EINVAL)
	}
	var err error
	if conf.fops, err = xlator.ParseFops(o["enable"]); err != nil {
		return fmt.Errorf("option enable: %w", err)
	}
	d.conf.Store(conf)
	return nil
}

// Do waits, perhaps, and passes the fop on.
func (d *delayGen) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	conf := d.conf.Load()
	if conf.wait > 0 && (conf.fops == nil || conf.fops[req.Op()]) && d.due(conf.percent) {
		t := time.NewTimer(conf.wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return d.child.Do(ctx, req)
}

func (d *delayGen) due(percent float64) bool {
	if percent >= 100 {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rnd.Float64()*100 < percent
}
