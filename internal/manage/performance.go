package manage

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wythefs/wythe/internal/graph"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/xlator"
)

// switches are the performance translators of a client, from the bottom, with the
// volume option that loads each and whether it is loaded without.
var switches = []struct {
	key, name string
	on        bool
}{
	{"performance.write-behind", "write-behind", true},
	{"performance.read-ahead", "read-ahead", false},
	{"performance.readdir-ahead", "readdir-ahead", false},
	{"performance.io-cache", "io-cache", false},
	{"performance.open-behind", "open-behind", true},
	{"performance.quick-read", "quick-read", true},
	{"performance.nl-cache", "nl-cache", false},
	{"performance.stat-prefetch", "md-cache", true},
	{"performance.client-io-threads", "io-threads", true}, // but see loads
}

// parallelReaddir puts readdir-ahead below each subvolume instead of above all.
const parallelReaddir = "performance.parallel-readdir"

// loads reports whether a volume's clients have a performance translator.
func (v *Volume) loads(key string, on bool) bool {
	if key == "performance.client-io-threads" && v.Shape().Replica > 1 {
		on = false // as glusterd sets it when it makes a volume with copies
	}
	if b, err := xlator.ParseBool(v.Options[key]); err == nil {
		on = b
	}
	return on
}

// listsInParallel reports whether each subvolume has its own readdir-ahead.
func (v *Volume) listsInParallel() bool {
	return v.loads(parallelReaddir, false) && v.Shape().Distribute > 1
}

// performance appends the performance translators.
func (v *Volume) performance(f *volfile.File) {
	for _, s := range switches {
		if !v.loads(s.key, s.on) || s.name == "readdir-ahead" && v.listsInParallel() {
			continue
		}
		node(f, v.Name+"-"+s.name, "performance/"+s.name)
		v.set(f)
	}
}

// readdirAheads appends a readdir-ahead on top of each subvolume, and returns
// their names.
func (v *Volume) readdirAheads(f *volfile.File, subvolumes []string) []string {
	var names []string
	for i, s := range subvolumes {
		name := fmt.Sprintf("%s-readdir-ahead-%d", v.Name, i)
		node(f, name, "performance/readdir-ahead", "performance.readdir-ahead", "on")
		f.Top().Subvolumes = []string{s}
		v.set(f)
		if v.loads("performance.readdir-ahead", false) {
			// Glusterd shares the memory out then, and only then.
			limit, _ := f.Top().Get("rda-cache-limit")
			if n, err := xlator.ParseSize(limit); err == nil {
				f.Top().Set("rda-cache-limit", fmt.Sprintf("%dB", n/int64(len(subvolumes))))
			}
		}
		names = append(names, name)
	}
	return names
}

// isSwitch reports whether a volume option loads a translator.
func isSwitch(key string) bool {
	return slices.ContainsFunc(switches, func(s struct {
		key, name string
		on        bool
	}) bool {
		return s.key == key
	})
}

// performanceOptions is the part of the table that is about performance
// translators, and about what bricks tell them. In the order of glusterd's table.
var performanceOptions = []volumeOption{
	{"performance.cache-max-file-size", "performance/io-cache", "max-file-size", ""},
	{"performance.cache-min-file-size", "performance/io-cache", "min-file-size", ""},
	{"performance.cache-refresh-timeout", "performance/io-cache", "cache-timeout", ""},
	{"performance.cache-priority", "performance/io-cache", "priority", ""},
	{"performance.io-cache-size", "performance/io-cache", "cache-size", ""},
	{"performance.cache-size", "performance/io-cache", "cache-size", ""},
	{"performance.io-thread-count", "performance/io-threads", "thread-count", ""},
	{"performance.high-prio-threads", "performance/io-threads", "high-prio-threads", ""},
	{"performance.normal-prio-threads", "performance/io-threads", "normal-prio-threads", ""},
	{"performance.low-prio-threads", "performance/io-threads", "low-prio-threads", ""},
	{"performance.least-prio-threads", "performance/io-threads", "least-prio-threads", ""},
	{"performance.enable-least-priority", "performance/io-threads", "enable-least-priority", ""},
	{"performance.iot-watchdog-secs", "performance/io-threads", "watchdog-secs", ""},
	{"performance.iot-cleanup-disconnected-reqs", "performance/io-threads", "cleanup-disconnected-reqs", ""},
	{"performance.iot-pass-through", "performance/io-threads", "pass-through", ""},
	{"performance.io-cache-pass-through", "performance/io-cache", "pass-through", ""},
	{"performance.quick-read-cache-size", "performance/quick-read", "cache-size", ""},
	{"performance.cache-size", "performance/quick-read", "cache-size", ""},
	{"performance.quick-read-cache-timeout", "performance/quick-read", "cache-timeout", ""},
	{"performance.qr-cache-timeout", "performance/quick-read", "cache-timeout", ""},
	{"performance.quick-read-cache-invalidation", "performance/quick-read", "quick-read-cache-invalidation", ""},
	{"performance.ctime-invalidation", "performance/quick-read", "ctime-invalidation", ""},
	{"performance.flush-behind", "performance/write-behind", "flush-behind", ""},
	{"performance.write-behind-window-size", "performance/write-behind", "cache-size", ""},
	{"performance.resync-failed-syncs-after-fsync", "performance/write-behind", "resync-failed-syncs-after-fsync", ""},
	{"performance.strict-o-direct", "performance/write-behind", "strict-O_DIRECT", ""},
	{"performance.strict-write-ordering", "performance/write-behind", "strict-write-ordering", ""},
	{"performance.write-behind-trickling-writes", "performance/write-behind", "trickling-writes", ""},
	{"performance.aggregate-size", "performance/write-behind", "aggregate-size", ""},
	{"performance.lazy-open", "performance/open-behind", "lazy-open", ""},
	{"performance.read-after-open", "performance/open-behind", "read-after-open", ""},
	{"performance.open-behind-pass-through", "performance/open-behind", "pass-through", ""},
	{"performance.read-ahead-page-count", "performance/read-ahead", "page-count", ""},
	{"performance.read-ahead-pass-through", "performance/read-ahead", "pass-through", ""},
	{"performance.readdir-ahead-pass-through", "performance/readdir-ahead", "pass-through", ""},
	{"performance.md-cache-pass-through", "performance/md-cache", "pass-through", ""},
	{"performance.write-behind-pass-through", "performance/write-behind", "pass-through", ""},
	{"performance.md-cache-timeout", "performance/md-cache", "md-cache-timeout", ""},
	{"performance.cache-swift-metadata", "performance/md-cache", "cache-swift-metadata", ""},
	{"performance.cache-samba-metadata", "performance/md-cache", "cache-samba-metadata", ""},
	{"performance.cache-capability-xattrs", "performance/md-cache", "cache-capability-xattrs", ""},
	{"performance.cache-ima-xattrs", "performance/md-cache", "cache-ima-xattrs", ""},
	{"performance.md-cache-statfs", "performance/md-cache", "md-cache-statfs", ""},
	{"performance.xattr-cache-list", "performance/md-cache", "xattr-cache-list", ""},
	{"performance.nl-cache-pass-through", "performance/nl-cache", "pass-through", ""},
	{"performance.force-readdirp", "performance/md-cache", "force-readdirp", ""},
	{"performance.cache-invalidation", "performance/md-cache", "cache-invalidation", ""},
	{"performance.global-cache-invalidation", "performance/md-cache", "global-cache-invalidation", ""},
	{"features.cache-invalidation", "features/upcall", "cache-invalidation", "off"},
	{"features.cache-invalidation-timeout", "features/upcall", "cache-invalidation-timeout", ""},
	{parallelReaddir, "performance/readdir-ahead", "parallel-readdir", "off"},
	{"performance.rda-request-size", "performance/readdir-ahead", "rda-request-size", "131072"},
	{"performance.rda-low-wmark", "performance/readdir-ahead", "rda-low-wmark", ""},
	{"performance.rda-high-wmark", "performance/readdir-ahead", "rda-high-wmark", ""},
	{"performance.rda-cache-limit", "performance/readdir-ahead", "rda-cache-limit", "10MB"},
	{"performance.nl-cache-positive-entry", "performance/nl-cache", "nl-cache-positive-entry", ""},
	{"performance.nl-cache-limit", "performance/nl-cache", "nl-cache-limit", "10MB"},
	{"performance.nl-cache-timeout", "performance/nl-cache", "nl-cache-timeout", ""},
}

// CheckValues reports the first option of a volume whose value the translators
// that it is for would refuse. Which those are says types, as this room knows no
// translator.
func CheckValues(types graph.Registry, options map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(options)) {
		for _, o := range volumeOptions {
			t, ok := types[o.typ]
			if o.key != key || !ok || strings.HasPrefix(o.key, "cluster.") {
				continue
			}
			if decl, ok := xlator.Find(t.Options, o.option); ok {
				if err := decl.Check(options[key]); err != nil {
					return fmt.Errorf("volume option %s: %w", key, err)
				}
			}
		}
	}
	return nil
}
