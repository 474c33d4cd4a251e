package fuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/volume"
)

// Server is a mounted volume.
type Server struct {
	cfg    Config
	bridge *bridge
	ps     *fuse.ProtocolServer
	fd     int
	dev    *device
	ring   *uring // nil: all requests come by dev
	dump   *dumper
	minor  uint32 // of the kernel's protocol
	dirAbs string

	cancels []func()
	done    chan struct{}
	err     error
}

// Mount mounts a volume and returns when it can be used: the root has answered
// and the kernel and we have agreed on the protocol. The context bounds that
// only. It needs root, or the right to mount in the caller's namespaces.
func Mount(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, done: make(chan struct{})}
	err := s.mount(ctx)
	if err != nil && s.ring != nil && cfg.Transport == TransportAuto {
		cfg.Log.Warn("no mount with FUSE over io_uring, trying /dev/fuse", "err", err)
		cfg.Transport = TransportDev
		s = &Server{cfg: cfg, done: make(chan struct{})}
		err = s.mount(ctx)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) mount(ctx context.Context) (err error) {
	dir, err := filepath.Abs(s.cfg.Dir)
	if err != nil {
		return err
	}
	s.dirAbs = dir
	fi, err := os.Stat(dir)
	switch {
	case err != nil:
		return fmt.Errorf("mount point: %w", err)
	case !fi.IsDir():
		return fmt.Errorf("mount point %s: %w", dir, syscall.ENOTDIR)
	}
	h := fop.Handler(s.cfg.Session)
	root, err := findRoot(ctx, h, s.cfg.Subdir)
	if err != nil {
		return err
	}
	if s.dump, err = newDumper(s.cfg.DumpFuse); err != nil {
		return err
	}
	s.bridge = newBridge(&s.cfg, h, root.GFID)
	s.bridge.nodes.root.mode.Store(root.Mode)
	if s.fd, err = openDevice(); err != nil {
		return err
	}
	protocol := s.protocol()
	if rings, err := s.cfg.rings(); err != nil {
		syscall.Close(s.fd)
		return err
	} else if rings {
		protocol.ExtraCapabilities |= fuse.CAP_OVER_IO_URING
		s.ring = newURing(s.fd, s.serve, s.cfg.Log, s.dump)
	}
	s.ps = fuse.NewProtocolServer(s.bridge, protocol)
	if err := s.attach(dir); err != nil {
		syscall.Close(s.fd)
		return err
	}
	s.dev = newDevice(s.fd, s.serve, s.cfg.ReaderThreads, s.cfg.Log, s.dump)
	s.bridge.memory = s.dev.memory
	if err := s.init(); err != nil {
		unix.Unmount(dir, unix.MNT_DETACH)
		syscall.Close(s.fd)
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	s.bridge.notes.start(s.minor, s.dev.write)
	s.cancels = append(s.cancels, s.cfg.Session.Subscribe(s.bridge.upcall), s.cfg.Session.OnSwitch(s.bridge.distrust))
	s.dev.start()
	if s.ring != nil {
		err = s.ring.start(s.cfg.ReaderThreads)
	}
	go s.run()
	if err == nil {
		err = s.tryOut()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("mount %s: the root does not answer: %w", dir, err), s.Abort())
	}
	return nil
}

// tryOut uses the mount for the first time. It also has the kernel find out that
// there is no poll(2) here: a Go program that opens a file would ask for it in a
// way that keeps its scheduler waiting for us, and if the program is ourselves,
// for ever. go-fuse answers for the file of that name.
func (s *Server) tryOut() error {
	fd, err := syscall.Open(filepath.Join(s.dirAbs, ".go-fuse-epoll-hack"), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	if _, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); err != nil && err != syscall.EINTR {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Stat(s.dirAbs, &st); err != nil {
		return err
	}
	s.readAhead(st.Dev)
	return nil
}

// rings reports whether requests shall come by io_uring. Where the kernel has it
// switched on it takes a tenth less of the processor, see the benchmarks.
func (c *Config) rings() (bool, error) {
	switch c.Transport {
	case TransportDev:
		return false, nil
	case TransportURing:
		return true, uringEnabled()
	default:
		return uringEnabled() == nil, nil
	}
}

// findRoot looks up what becomes the root of the mount.
func findRoot(ctx context.Context, h fop.Handler, subdir string) (fop.Iatt, error) {
	v := volume.New(h)
	c := fop.Cred{}
	a, err := v.LookupGFID(ctx, &c, fop.RootGFID)
	if err != nil {
		return a, fmt.Errorf("the root of the volume does not answer: %w", err)
	}
	if subdir == "" {
		return a, nil
	}
	for _, name := range strings.Split(subdir, "/") {
		if a, err = v.Lookup(ctx, &c, a.GFID, name); err != nil {
			return a, fmt.Errorf("directory /%s of the volume, %q: %w", subdir, name, err)
		}
		if !a.IsDir() {
			return a, fmt.Errorf("directory /%s of the volume, %q: %w", subdir, name, syscall.ENOTDIR)
		}
	}
	return a, nil
}

func openDevice() (int, error) {
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENXIO):
		return -1, fmt.Errorf("/dev/fuse: the kernel has no FUSE; try modprobe fuse: %w", err)
	case err != nil:
		return -1, fmt.Errorf("/dev/fuse: %w", err)
	}
	return fd, nil
}

// protocol is what we ask of the kernel.
func (s *Server) protocol() *fuse.MountOptions {
	c := &s.cfg
	o := &fuse.MountOptions{
		MaxWrite:             maxIO,
		MaxBackground:        c.BackgroundQueue,
		CongestionThreshold:  c.CongestionThreshold,
		EnableLocks:          true,
		EnableAcl:            c.ACL,
		EnableSymlinkCaching: true,
		DisableReadDirPlus:   !c.Readdirp,
		FsName:               c.Source,
		Name:                 "glusterfs",
		Logger:               log.New(logWriter{c.Log}, "", 0),
		ExtraCapabilities: fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_ASYNC_DIO | fuse.CAP_DONT_MASK |
			fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_HAS_EXPIRE_ONLY | fuse.CAP_SETXATTR_EXT,
		DisabledCapabilities: fuse.CAP_PASSTHROUGH,
	}
	if !c.AutoInvalidation {
		o.DisabledCapabilities |= fuse.CAP_AUTO_INVAL_DATA
	}
	if c.WritebackCache {
		o.ExtraCapabilities |= fuse.CAP_WRITEBACK_CACHE
	}
	return o
}

// logWriter takes what go-fuse has to say.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(b []byte) (int, error) {
	w.log.Debug("fuse", "says", strings.TrimSpace(string(b)))
	return len(b), nil
}

// init answers the kernel's first request.
func (s *Server) init() error {
	buf := make([]byte, inputSize)
	n, err := s.dev.read(buf)
	if err != nil {
		return fmt.Errorf("the kernel's first message: %w", err)
	}
	in := buf[:n]
	if opcode(in) != opInit || n < inHeaderSize+16 {
		return fmt.Errorf("the kernel's first message has opcode %d: %w", opcode(in), syscall.EPROTO)
	}
	asked := (*fuse.InitIn)(unsafe.Pointer(unsafe.SliceData(append(make([]byte, 0, 256), in...)[:unsafe.Sizeof(fuse.InitIn{})])))
	s.minor = asked.Minor
	s.dump.message('R', in)
	out := make([]byte, smallSize)
	k := s.serve([][]byte{in}, [][]byte{out})
	if k < 16+int(unsafe.Offsetof(fuse.InitOut{}.MaxPages)) {
		return fmt.Errorf("protocol version %d.%d of the kernel is too old: %w", asked.Major, asked.Minor, syscall.EPROTO)
	}
	reply := (*fuse.InitOut)(unsafe.Pointer(&out[16]))
	if g := s.cfg.AttrTimesGranularity; g > 0 {
		reply.TimeGran = uint32(g)
	}
	s.dump.message('W', out[:k])
	if reply.Flags64()&fuse.CAP_OVER_IO_URING == 0 {
		s.ring = nil
	}
	if err := s.dev.write(out[:k]); err != nil {
		return fmt.Errorf("the kernel does not agree: %w", err)
	}
	return nil
}

// serve carries out one request.
func (s *Server) serve(in, out [][]byte) int {
	n, st := s.ps.HandleRequest(in, out)
	if !st.Ok() {
		s.cfg.Log.Error("a message of the kernel is not understood", "opcode", opcode(in[0]), "status", st)
		return errorReply(in[0], out[0], st)
	}
	return n
}

// run waits for the end and clears up.
func (s *Server) run() {
	<-s.dev.ended
	for _, unique := range s.bridge.waits.list() {
		s.interrupt(unique)
	}
	s.dev.wait()
	if s.ring != nil {
		s.ring.wait()
	}
	for _, cancel := range s.cancels {
		cancel()
	}
	s.bridge.notes.stop()
	s.bridge.close()
	s.err = s.dump.close()
	syscall.Close(s.fd)
	close(s.done)
}

// Wait returns when the mount has ended: unmounted by anybody, with nothing left
// behind. The error is that of writing DumpFuse.
func (s *Server) Wait() error {
	<-s.done
	return s.err
}

// lingering is how long Unmount waits for a mount that is used elsewhere.
const lingering = 2 * time.Second

// Unmount unmounts, which fails with EBUSY while somebody uses the mount, and
// waits as Wait does. If other mount namespaces have a copy of the mount, as
// containers do that were started meanwhile, it goes on being served for them and
// Unmount does not wait.
func (s *Server) Unmount() error {
	select {
	case <-s.done:
		return nil
	default:
	}
	if err := unix.Unmount(s.dirAbs, 0); err != nil {
		return fmt.Errorf("unmount %s: %w", s.dirAbs, err)
	}
	select {
	case <-s.done:
		return s.err
	case <-time.After(lingering):
		s.cfg.Log.Warn("unmounted here, but mounted in another namespace still, which is served until this process ends", "dir", s.dirAbs)
		return nil
	}
}

// Abort ends the mount whoever uses it: what is under way fails, the mount point
// is taken away, and processes that have files open in it get ENOTCONN.
func (s *Server) Abort() error {
	select {
	case <-s.done:
		return nil
	default:
	}
	if err := unix.Unmount(s.dirAbs, unix.MNT_FORCE|unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", s.dirAbs, err)
	}
	return s.Wait()
}

// Dump writes the state of the mount for a statedump.
func (s *Server) Dump(w io.Writer) {
	b := s.bridge
	fmt.Fprintln(w, "[xlator.mount.fuse.priv]")
	for _, line := range []struct {
		key string
		val any
	}{
		{"mount_point", s.dirAbs}, {"source", s.cfg.Source}, {"transport", s.transport()}, {"proto_minor", s.minor},
		{"attribute_timeout", s.cfg.AttrTimeout.Seconds()}, {"entry_timeout", s.cfg.EntryTimeout.Seconds()},
		{"negative_timeout", s.cfg.NegativeTimeout.Seconds()}, {"gid_timeout", s.cfg.GIDTimeout.Seconds()},
		{"direct_io_mode", s.cfg.DirectIO}, {"fopen_keep_cache", s.cfg.KeepCache}, {"auto_invalidation", s.cfg.AutoInvalidation},
		{"writeback_cache", s.cfg.WritebackCache}, {"use_readdirp", s.cfg.Readdirp}, {"acl", s.cfg.ACL}, {"selinux", s.cfg.SELinux},
		{"thin_client", s.cfg.ThinClient}, {"lru_limit", s.cfg.LRULimit}, {"invalidate_limit", s.cfg.InvalidateLimit},
		{"inodes", b.nodes.len() + 1}, {"inodes_asked_back", b.nodes.outstanding()},
		{"open_files", b.files.len()}, {"open_directories", b.dirs.len()},
		{"requests_waiting_for_locks", len(b.waits.list())}, {"changes", b.changes.Load()},
	} {
		fmt.Fprintf(w, "%s=%v\n", line.key, line.val)
	}
	const table = "xlator.mount.fuse.itable"
	fmt.Fprintf(w, "\n[%s]\n%s.name=%s/inode\n%s.lru_limit=%d\n%s.active_size=%d\n%s.lru_size=0\n%s.purge_size=0\n%s.invalidate_size=%d\n",
		table, table, "meta-autoload", table, s.cfg.LRULimit, table, b.nodes.len()+1, table, table, table, b.nodes.outstanding())
}
