//go:build linux && cgo

package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/graph/clientside"
	"github.com/wythefs/wythe/internal/mount"
	"github.com/wythefs/wythe/internal/paths"
	"github.com/wythefs/wythe/internal/volfile"
	"github.com/wythefs/wythe/internal/volserver"
	"github.com/wythefs/wythe/internal/volume"
	"github.com/wythefs/wythe/internal/xlator"
)

const (
	// initTimeout bounds glfs_init, together with what each server may take.
	initTimeout = 30 * time.Second
	// finiTimeout is what requests under way have to end in glfs_fini.
	finiTimeout = 5 * time.Second
	// entryTimeout is for how long directories and links are believed to be
	// where they were, as gfapi does it.
	entryTimeout = time.Second
	// maxLinks is GlusterFS's bound on symbolic links in a path.
	maxLinks = 2048
)

// fsys is a glfs_t.
type fsys struct {
	h    handle
	name string // as given to glfs_new
	dev  uint32 // st_dev
	log  *logger
	live atomic.Pointer[live] // once glfs_init has succeeded
	up   upcalls

	mu      sync.Mutex // what follows
	init    sync.Mutex // held while the volume is opened
	servers []volserver.Server
	volfile string // path of a file in place of servers
	options []volfile.Override
	dumpDir string
	id      *fop.GFID // of the volume, once asked for
}

// live is a volume in use.
type live struct {
	s     *mount.Session
	asked *volserver.Client // nil with a volfile of a file
	vol   *volume.Volume
	names *paths.Resolver
	cwd   *atomic.Pointer[[]paths.Dir]
	stop  func() // ends the subscription to upcalls
	// known is the volume of calls that shall not wait, as far as no brick is
	// needed; of it, all is the one to which it belongs.
	known, all *live
}

// fs finds the glfs_t of argument i.
func (c *call) fs(i int) (*fsys, error) {
	if f, ok := handles.get(c.arg(i)).(*fsys); ok {
		return f, nil
	}
	return nil, syscall.EINVAL
}

// mounted finds the glfs_t of argument 0, in use: EIO before glfs_init.
func (c *call) mounted() (*fsys, *live, error) {
	f, err := c.fs(0)
	if err != nil {
		return nil, nil, err
	}
	l := f.live.Load()
	if l == nil {
		return nil, nil, syscall.EIO
	}
	if c.quick {
		l = l.known
	}
	return f, l, nil
}

func (c *call) glfsNew() int64 {
	name, ok := text(c.ptr(0))
	if !ok || !validName(name) {
		return c.fail(syscall.EINVAL)
	}
	f := &fsys{name: name, dev: fop.NameHash(name), log: newLogger()}
	f.up.fs = f
	if f.h = handles.add(f); f.h == 0 {
		return c.fail(syscall.ENFILE)
	}
	return f.h
}

// validName knows the names of volumes: letters, digits, - and _, no - at the
// beginning; or /snaps/ and the id of a snapshot.
func validName(name string) bool {
	if strings.HasPrefix(name, "/snaps/") {
		return true
	}
	for i := range len(name) {
		b := name[i]
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '_':
		case b == '-' && i > 0:
		default:
			return false
		}
	}
	return true
}

// server reads the arguments of glfs_set_volfile_server: transport, host, port.
func (c *call) server() (s volserver.Server, err error) {
	transport, ok := text(c.ptr(1))
	if !ok {
		transport = "tcp"
	}
	host, ok := text(c.ptr(2))
	if !ok {
		return s, syscall.EINVAL
	}
	port := int32(c.arg(3))
	switch transport {
	case "unix":
		if host == "" || len(host) >= 108 { // of a sockaddr_un
			return s, syscall.EINVAL
		}
		return volserver.Server{Network: "unix", Addr: host}, nil
	case "tcp", "rdma", "socket", "ib-verbs":
		if port == 0 {
			port = volserver.DefaultPort
		}
		if host == "" || port < 0 || port > 65535 {
			return s, syscall.EINVAL
		}
		return volserver.Server{Network: "tcp", Addr: hostPort(host, int(port))}, nil
	}
	return s, syscall.EINVAL
}

func (c *call) glfsSetVolfileServer() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	s, err := c.server()
	if err != nil {
		return c.fail(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.volfile != "" {
		return c.fail(syscall.EINVAL)
	}
	for _, t := range f.servers {
		if t == s {
			return 0
		}
	}
	f.servers = append(f.servers, s)
	return 0
}

func (c *call) glfsUnsetVolfileServer() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	s, err := c.server()
	if err != nil {
		return c.fail(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, t := range f.servers {
		if t == s {
			f.servers = append(f.servers[:i:i], f.servers[i+1:]...)
			return 0
		}
	}
	return c.fail(syscall.EINVAL)
}

func (c *call) glfsSetVolfile() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	name, err := c.path(1)
	if err != nil {
		return c.fail(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.volfile != "" || len(f.servers) > 0 {
		return c.fail(syscall.EINVAL)
	}
	f.volfile = name
	return 0
}

func (c *call) glfsSetXlatorOption() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	var words [3]string
	for i := range words {
		var ok bool
		if words[i], ok = text(c.ptr(1 + i)); !ok {
			return c.fail(syscall.EINVAL)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.options = append(f.options, volfile.Override{Pattern: words[0], Key: words[1], Value: words[2]})
	return 0
}

// edit applies the options that the program has set: to every graph that is
// built from then on, the newest first, whether a translator has that name or
// not.
func (f *fsys) edit(file *volfile.File) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.options) - 1; i >= 0; i-- {
		if o := f.options[i]; o.Apply(file) == 0 {
			f.log.Debug("no translator has that name", "pattern", o.Pattern, "option", o.Key)
		}
	}
	return nil
}

func (c *call) glfsInit() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	f.init.Lock()
	defer f.init.Unlock()
	if f.live.Load() != nil {
		return 0
	}
	l, err := f.open()
	if err != nil {
		f.log.Error("the volume cannot be opened", "volume", f.name, "err", err)
		return c.fail(initErrno(err))
	}
	root := []paths.Dir{{GFID: fop.RootGFID}}
	l.cwd.Store(&root)
	l.stop = l.s.Subscribe(func(u *fop.Upcall) { f.hear(l, u) })
	f.live.Store(l)
	if handles.get(f.h) == nil { // glfs_fini was faster
		f.close()
		return c.fail(syscall.EINVAL)
	}
	return 0
}

// open opens the volume.
func (f *fsys) open() (*live, error) {
	f.mu.Lock()
	cfg := mount.Config{
		Volume:   f.name,
		Edit:     f.edit,
		Registry: clientside.Registry(),
		Env:      xlator.Env{ProcessName: "gfapi." + processName()},
		Log:      f.log.Logger,
	}
	servers, file := append([]volserver.Server(nil), f.servers...), f.volfile
	f.mu.Unlock()
	var asked *volserver.Client
	switch {
	case file != "":
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		cfg.Volfile = string(text)
	case len(servers) > 0:
		asked = volserver.New(volserver.Config{Servers: servers, ID: f.name, Log: f.log.Logger, OnDump: func() { f.dump() }})
		cfg.Source = asked
	default:
		return nil, syscall.EINVAL
	}
	ctx, cancel := context.WithTimeout(context.Background(), initTimeout)
	defer cancel()
	s, err := mount.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	vol, cache := volume.New(leases{s}), paths.NewCache(entryTimeout)
	l := &live{s: s, asked: asked, vol: vol, names: &paths.Resolver{Vol: vol, Cache: cache}, cwd: new(atomic.Pointer[[]paths.Dir])}
	l.known = l.knower(cache)
	return l, nil
}

// initErrno is what glfs_init says: what the server said, ENOTCONN if there is
// none, EIO if there are no bricks.
func initErrno(err error) syscall.Errno {
	var said *volserver.Refusal
	var none *volserver.ServersError
	switch {
	case errors.As(err, &said):
		return said.Errno
	case errors.As(err, &none):
		return syscall.ENOTCONN
	}
	switch e := fop.Errno(err); e {
	case syscall.EINVAL, syscall.ENOTSUP, syscall.ENOENT, syscall.EACCES:
		return e
	}
	return syscall.EIO
}

// processName is the name of this process as the kernel has it.
func processName() string {
	b, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

func (c *call) glfsFini() int64 {
	f, ok := handles.remove(c.arg(0)).(*fsys)
	if !ok {
		return c.fail(syscall.EINVAL)
	}
	f.init.Lock()
	defer f.init.Unlock()
	f.close()
	f.log.close()
	return 0
}

// close ends the use of the volume. What was written is written.
func (f *fsys) close() {
	l := f.live.Swap(nil)
	if l == nil {
		return
	}
	for _, v := range handles.removeIf(func(v any) bool {
		switch v := v.(type) {
		case *fd:
			return v.fs == f
		case *object:
			return v.fs == f
		}
		return false
	}) {
		if d, ok := v.(*fd); ok {
			d.shut(context.Background(), &fop.Cred{PID: int32(os.Getpid()), Owner: d.owner()})
		}
	}
	l.stop()
	f.up.end()
	ctx, cancel := context.WithTimeout(context.Background(), finiTimeout)
	defer cancel()
	if err := l.s.Close(ctx); err != nil {
		f.log.Warn("closing the volume", "err", err)
	}
}

func (c *call) glfsFromGlfd() int64 {
	d, ok := handles.get(c.arg(0)).(*fd)
	if !ok {
		return c.fail(syscall.EBADF)
	}
	return d.fs.h
}

func (c *call) glfsGetVolfile() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	text := ""
	if l := f.live.Load(); l != nil {
		text = l.s.Volfile()
	}
	size := c.arg(2)
	switch {
	case size < 0:
		return c.fail(syscall.EINVAL)
	case size < int64(len(text)):
		return size - int64(len(text))
	}
	if buf := bytes(c.ptr(1), size); buf != nil {
		return int64(copy(buf, text))
	} else if len(text) > 0 {
		return c.fail(syscall.EINVAL)
	}
	return 0
}

func (c *call) glfsGetVolumeid() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	size := c.arg(2)
	if c.ptr(1) == nil || size == 0 {
		return int64(len(fop.GFID{}))
	}
	if size < int64(len(fop.GFID{})) {
		return c.fail(syscall.ERANGE)
	}
	f.mu.Lock()
	id := f.id
	f.mu.Unlock()
	if id == nil {
		l := f.live.Load()
		if l == nil || l.asked == nil {
			return c.fail(syscall.EINVAL)
		}
		ctx, cancel := context.WithTimeout(c.ctx, initTimeout)
		defer cancel()
		got, err := l.asked.VolumeID(ctx, f.name)
		if err != nil {
			f.log.Warn("the id of the volume is not known", "err", err)
			return c.fail(syscall.EINVAL)
		}
		id = &got
		f.mu.Lock()
		f.id = id
		f.mu.Unlock()
	}
	return int64(copy(bytes(c.ptr(1), size), id[:]))
}

func (c *call) glfsSetLogging() int64 {
	f, err := c.fs(0)
	if err != nil {
		return c.fail(err)
	}
	file, ok := text(c.ptr(1))
	if !ok {
		file = f.defaultLog()
	}
	return c.done(f.log.set(file, int(int32(c.arg(2)))))
}

// defaultLog is the log file of who names none.
func (f *fsys) defaultLog() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.servers) == 0 {
		return defaultLogDir + "/" + f.name + ".log"
	}
	s := f.servers[0]
	if s.Network == "unix" {
		return defaultLogDir + "/" + strings.ReplaceAll(strings.Trim(s.Addr, "/"), "/", "-") + ".log"
	}
	return defaultLogDir + "/" + hostOf(s.Addr) + "-" + f.name + "-" + pidText() + ".log"
}
