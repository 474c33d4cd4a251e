//go:build linux

package posix

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/brickfs"
	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
)

// Step, when set before New, is called with the name of every point between two
// changes to the disk, such as "create.owner", before the change is made. Crash
// tests kill the process there.
var Step func(name string)

// Brick is one served brick.
type Brick struct {
	name   string
	dir    string
	volume fop.GFID // volume-id, zero if not configured
	log    *slog.Logger
	notify func(fop.Event)
	env    *xlator.Env
	step   func(string)

	lock     *brickLock
	root     *held // the brick's directory
	meta     int   // .glusterfs
	metaStat unix.Stat_t
	attrs    *brickfs.Attrs

	opt    atomic.Pointer[settings]
	inodes inodeTable
	names  entryLocks
	dirs   fdCache // O_PATH descriptors of directories
	files  fdCache // of files used without an open, read-write
	closer closer
	batch  batcher
	space  spaceCheck
	closed sync.Once
}

// Bounds of what is kept in memory. Descriptors are further bounded by the
// limit of the process.
const (
	maxInodes = 128 << 10
	maxDirs   = 8 << 10
	maxFiles  = 256
)

// New opens the brick that option directory names, completes its layout where
// that is missing, and serves it. It clears the umask of the process. The error of a directory that is no usable
// brick says which directory, what was found, and what to do.
func New(c xlator.Config) (fop.Handler, error) {
	if c.Env == nil {
		c.Env = &xlator.Env{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Notify == nil {
		c.Notify = func(fop.Event) {}
	}
	if c.Env.Hostname == "" {
		env := *c.Env
		env.Hostname, _ = os.Hostname()
		c.Env = &env
	}
	opt, err := parseSettings(c.Options, c.Env)
	if err != nil {
		return nil, err
	}
	b := &Brick{name: c.Name, dir: c.Options["directory"], log: c.Log, notify: c.Notify, env: c.Env, step: Step}
	b.opt.Store(opt)
	unix.Umask(0) // modes are what clients ask for; as GlusterFS, for the whole process
	limit := raiseFileLimit()
	b.inodes.init(maxInodes)
	b.dirs.init(int(min(maxDirs, limit/4)))
	b.files.init(int(min(maxFiles, limit/16)))
	b.batch.b = b
	if err := b.open(c.Options); err != nil {
		return nil, err
	}
	return b, nil
}

func raiseFileLimit() uint64 {
	var r unix.Rlimit
	for _, want := range []uint64{1048576, 65536} {
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil && r.Cur >= want {
			break
		}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: want, Max: max(want, r.Max)}) == nil {
			return want
		}
	}
	return max(r.Cur, 64)
}

// Reconfigure takes new values of the options. The directory and the volume
// stay what they are.
func (b *Brick) Reconfigure(o xlator.Options) error {
	opt, err := parseSettings(o, b.env)
	if err != nil {
		return err
	}
	if d, ok := o["directory"]; ok && d != b.dir {
		return fmt.Errorf("brick %s cannot move to %s while it is served: %w", b.dir, d, syscall.EINVAL)
	}
	old := b.opt.Swap(opt)
	if opt.uid != old.uid || opt.gid != old.gid {
		return b.chownRoot(opt)
	}
	return nil
}

// Close releases the brick's descriptors. Open files are not closed.
func (b *Brick) Close() error {
	b.closed.Do(func() {
		b.closer.wait()
		b.dirs.close()
		b.files.close()
		unix.Close(b.meta)
		unix.Close(b.root.fd)
		b.lock.release()
	})
	return nil
}

// Dump writes the state for a statedump.
func (b *Brick) Dump(w io.Writer) {
	all, held := b.inodes.count()
	fmt.Fprintf(w, "base_path=%s\nbase_path_length=%d\ninodes=%d\ninodes_in_use=%d\ncached_directories=%d\ncached_files=%d\nrootless=%t\n",
		b.dir, len(b.dir), all, held, b.dirs.len(), b.files.len(), b.attrs.Rootless())
}

// at marks a point between two changes to the disk.
func (b *Brick) at(step string) {
	if b.step != nil {
		b.step(step)
	}
}

func (b *Brick) warn(what string, g fop.GFID, name string, err error) {
	b.log.Warn(what, "brick", b.dir, "gfid", g.String(), "name", name, "err", err)
}

// answer makes the pair that Do returns of a typed reply, which may be nil.
func answer[R interface {
	comparable
	fop.Reply
}](r R, err error) (fop.Reply, error) {
	var none R
	if r == none {
		return nil, err
	}
	return r, err
}

// Do carries out one fop.
func (b *Brick) Do(ctx context.Context, req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Lookup:
		return answer(b.lookup(r))
	case *fop.Stat:
		return answer(b.stat(r))
	case *fop.Fstat:
		return answer(b.fstat(r))
	case *fop.Read:
		return answer(b.read(r))
	case *fop.Write:
		return answer(b.write(r))
	case *fop.Open:
		return answer(b.openFile(r))
	case *fop.Create:
		return answer(b.create(r))
	case *fop.Flush:
		return answer(b.flush(r.GFID, r.Fd))
	case *fop.Release:
		return answer(b.release(r.Fd))
	case *fop.Readdir:
		return answer(b.readdir(&r.Header, r.GFID, r.Fd, r.Offset, r.Size, false))
	case *fop.Readdirp:
		return answer(b.readdir(&r.Header, r.GFID, r.Fd, r.Offset, r.Size, true))
	case *fop.Opendir:
		return answer(b.openDir(r))
	case *fop.Releasedir:
		return answer(b.release(r.Fd))
	case *fop.Mknod:
		return answer(b.mknod(r))
	case *fop.Mkdir:
		return answer(b.mkdir(r))
	case *fop.Symlink:
		return answer(b.symlink(r))
	case *fop.Link:
		return answer(b.link(r))
	case *fop.Unlink:
		return answer(b.unlink(r))
	case *fop.Rmdir:
		return answer(b.rmdir(r))
	case *fop.Rename:
		return answer(b.rename(r))
	case *fop.Put:
		return answer(b.put(ctx, r))
	}
	return b.doObject(req)
}

// doObject carries out the fops on one object that are not the most frequent.
func (b *Brick) doObject(req fop.Request) (fop.Reply, error) {
	switch r := req.(type) {
	case *fop.Readlink:
		return answer(b.readlink(r))
	case *fop.Access:
		return answer(b.access(r))
	case *fop.StatfsReq:
		return answer(b.statfs(r))
	case *fop.Setattr:
		return answer(b.setattr(&r.Header, r.GFID, nil, &r.Stat, r.Valid))
	case *fop.Fsetattr:
		return answer(b.setattr(&r.Header, r.GFID, r.Fd, &r.Stat, r.Valid))
	case *fop.Truncate:
		return answer(b.truncate(&r.Header, r.GFID, nil, r.Offset))
	case *fop.Ftruncate:
		return answer(b.truncate(&r.Header, r.GFID, r.Fd, r.Offset))
	case *fop.Fsync:
		return answer(b.fsync(r))
	case *fop.Fsyncdir:
		return answer(b.flush(r.GFID, r.Fd))
	case *fop.Fallocate:
		return answer(b.fallocate(r))
	case *fop.Discard:
		return answer(b.discard(r))
	case *fop.Zerofill:
		return answer(b.zerofill(r))
	case *fop.Seek:
		return answer(b.seek(r))
	case *fop.CopyFileRange:
		return answer(b.copyFileRange(r))
	case *fop.Rchecksum:
		return answer(b.rchecksum(r))
	case *fop.Setxattr:
		return answer(b.setxattr(&r.Header, r.GFID, nil, r.Flags, r.Dict, false))
	case *fop.Fsetxattr:
		return answer(b.setxattr(&r.Header, r.GFID, r.Fd, r.Flags, r.Dict, true))
	case *fop.Getxattr:
		return answer(b.getxattr(&r.Header, r.GFID, nil, r.Name, false))
	case *fop.Fgetxattr:
		return answer(b.getxattr(&r.Header, r.GFID, r.Fd, r.Name, true))
	case *fop.Removexattr:
		return answer(b.removexattr(&r.Header, r.GFID, nil, r.Name))
	case *fop.Fremovexattr:
		return answer(b.removexattr(&r.Header, r.GFID, r.Fd, r.Name))
	case *fop.Xattrop:
		return answer(b.xattrop(&r.Header, r.GFID, nil, r.Kind, r.Dict))
	case *fop.Fxattrop:
		return answer(b.xattrop(&r.Header, r.GFID, r.Fd, r.Kind, r.Dict))
	case *fop.Disconnect:
		return &fop.CommonReply{}, nil
	case *fop.Ipc:
		return nil, syscall.EOPNOTSUPP
	}
	return nil, syscall.ENOSYS
}

// closer closes descriptors in the background: closing the last one of a
// removed file frees its blocks, which can take long, and that of a written one
// gives back what the file system had reserved for more. It waits a little, so
// that a stream of closes does not wake a thread for each.
type closer struct {
	mu      sync.Mutex
	queue   []int
	running bool
	idle    sync.WaitGroup
}

func (c *closer) close(fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, fd)
	if !c.running {
		c.running = true
		c.idle.Add(1)
		time.AfterFunc(closeDelay, c.run)
	}
}

const closeDelay = time.Millisecond

func (c *closer) run() {
	defer c.idle.Done()
	for {
		c.mu.Lock()
		fds := c.queue
		c.queue = nil
		if len(fds) == 0 {
			c.running = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}

func (c *closer) wait() { c.idle.Wait() }
