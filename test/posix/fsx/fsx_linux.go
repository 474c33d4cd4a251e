package fsx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Config says what to do.
type Config struct {
	// Paths are names of the one file, each on a mount; it is made anew.
	Paths []string
	Seed  uint64
	Ops   int
	// MaxSize is how large the file may get; 0 means 256 KiB.
	MaxSize int
	// Direct opens the file with O_DIRECT, and maps nothing.
	Direct bool
	// Turn is after how many operations the next mount takes over; 0 means 20.
	Turn int
	// Pause is for how long mounts may believe what they saw last: the next one
	// waits for so long before it takes over.
	Pause time.Duration
	// Only are kinds of operations to use, all if empty.
	Only []Kind
}

// Kind is a kind of operation.
type Kind string

// The kinds of operations.
const (
	Read     Kind = "read"
	Write    Kind = "write"
	MapRead  Kind = "mapread"
	MapWrite Kind = "mapwrite"
	Truncate Kind = "truncate"
	Allocate Kind = "fallocate"
	Keep     Kind = "fallocate-keep"
	Punch    Kind = "punch"
	Zero     Kind = "zero"
	Copy     Kind = "copy"
	Sync     Kind = "fsync"
	Reopen   Kind = "reopen"
	Size     Kind = "stat"
	Next     Kind = "next-mount"
)

// weights are how often an operation comes.
var weights = []struct {
	kind Kind
	n    int
}{{Read, 20}, {Write, 20}, {MapRead, 8}, {MapWrite, 8}, {Truncate, 8}, {Allocate, 3}, {Keep, 2}, {Punch, 6}, {Zero, 5}, {Copy, 5}, {Sync, 2}, {Reopen, 3}, {Size, 5}}

// Op is one operation. Off, N and To are bytes.
type Op struct {
	Kind       Kind
	Off, N, To int
	Fill       byte // of what is written
}

func (o Op) String() string {
	switch o.Kind {
	case Truncate:
		return fmt.Sprintf("truncate %#x", o.Off)
	case Copy:
		return fmt.Sprintf("copy %#x+%#x to %#x", o.Off, o.N, o.To)
	case Sync, Reopen, Size, Next:
		return string(o.Kind)
	case Write, MapWrite:
		return fmt.Sprintf("%s %#x+%#x fill %#02x", o.Kind, o.Off, o.N, o.Fill)
	}
	return fmt.Sprintf("%s %#x+%#x", o.Kind, o.Off, o.N)
}

// Failure is how the file went wrong.
type Failure struct {
	Config Config
	Ops    []Op // up to the one that failed
	Err    error
}

func (f *Failure) Unwrap() error { return f.Err }

func (f *Failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "fsx: seed %d, operation %d: %v", f.Config.Seed, len(f.Ops), f.Err)
	const show = 40
	from := max(0, len(f.Ops)-show)
	fmt.Fprintf(&b, "\nthe last %d operations:", len(f.Ops)-from)
	for i, o := range f.Ops[from:] {
		fmt.Fprintf(&b, "\n  %6d %v", from+i+1, o)
	}
	return b.String()
}

// block is what offsets and lengths are multiples of with O_DIRECT.
const block = 4096

// Generate makes the operations of a configuration.
func Generate(c Config) []Op {
	c = c.defaults()
	r := rand.New(rand.NewPCG(c.Seed, 1))
	var kinds []Kind
	for _, w := range weights {
		if len(c.Only) > 0 && !slices.Contains(c.Only, w.kind) || c.Direct && (w.kind == MapRead || w.kind == MapWrite) {
			continue
		}
		for range w.n {
			kinds = append(kinds, w.kind)
		}
	}
	ops := make([]Op, 0, c.Ops)
	for len(ops) < c.Ops {
		if len(c.Paths) > 1 && len(ops)%c.Turn == c.Turn-1 {
			ops = append(ops, Op{Kind: Next})
			continue
		}
		o := Op{Kind: kinds[r.IntN(len(kinds))], Off: r.IntN(c.MaxSize), Fill: byte(1 + r.IntN(255))}
		o.N = 1 + r.IntN(min(c.MaxSize-o.Off, 1<<r.IntN(18)))
		if r.IntN(3) == 0 { // pages are where mistakes are
			o.Off &^= block - 1
		}
		if c.Direct {
			o.Off &^= block - 1
			o.N = max(block, o.N&^(block-1))
		}
		o.N = min(o.N, c.MaxSize-o.Off)
		o.To = r.IntN(c.MaxSize - o.N + 1)
		if c.Direct {
			o.To &^= block - 1
		}
		ops = append(ops, o)
	}
	return ops
}

func (c Config) defaults() Config {
	if c.MaxSize == 0 {
		c.MaxSize = 256 << 10
	}
	if c.Turn == 0 {
		c.Turn = 20
	}
	return c
}

// Run does all operations. It ends early without an error when ctx ends. The
// error is a *Failure, or that the file could not be made.
func Run(ctx context.Context, c Config) error { return Replay(ctx, c, Generate(c)) }

// Replay does these operations.
func Replay(ctx context.Context, c Config, ops []Op) error {
	c = c.defaults()
	m := &machine{c: c, lacks: map[Kind]bool{}}
	if err := m.begin(); err != nil {
		return err
	}
	defer m.end()
	for i, o := range ops {
		if ctx.Err() != nil {
			return nil
		}
		if err := m.do(o); err != nil {
			return &Failure{Config: c, Ops: ops[:i+1], Err: fmt.Errorf("%v on %s: %w", o, c.Paths[m.at], err)}
		}
	}
	return m.finish(ops)
}

// Shrink removes operations for as long as what is left fails. It tries at most
// so many times.
func Shrink(ctx context.Context, c Config, ops []Op, tries int) (short []Op, err error) {
	err = Replay(ctx, c, ops)
	for n := len(ops) / 2; n > 0 && err != nil; {
		removed := false
		for i := 0; i+n <= len(ops) && tries > 0; tries-- {
			shorter := slices.Concat(ops[:i], ops[i+n:])
			if e := Replay(ctx, c, shorter); e != nil {
				ops, err, removed = shorter, e, true
			} else {
				i += n
			}
		}
		if tries <= 0 {
			break
		}
		if !removed {
			n /= 2
		}
	}
	return ops, err
}

// machine is the file and its model.
type machine struct {
	c     Config
	model []byte
	at    int // which path
	fd    int
	buf   []byte // aligned, for O_DIRECT
	lacks map[Kind]bool
}

func (m *machine) begin() error {
	if err := os.Remove(m.c.Paths[0]); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	buf, err := unix.Mmap(-1, 0, m.c.MaxSize+block, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	m.buf = buf
	return m.open(unix.O_CREAT | unix.O_EXCL)
}

func (m *machine) open(flags int) (err error) {
	flags |= unix.O_RDWR | unix.O_CLOEXEC
	if m.c.Direct {
		flags |= unix.O_DIRECT
	}
	for {
		m.fd, err = unix.Open(m.c.Paths[m.at], flags, 0o644)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", m.c.Paths[m.at], err)
	}
	return nil
}

func (m *machine) end() {
	unix.Close(m.fd)
	_ = unix.Munmap(m.buf)
}

// finish compares the whole file.
func (m *machine) finish(ops []Op) error {
	err := m.close()
	if err == nil {
		err = m.open(0)
	}
	if err == nil {
		err = m.size()
	}
	if err == nil {
		err = m.read(Op{Off: 0, N: len(m.model)})
	}
	if err != nil {
		return &Failure{Config: m.c, Ops: ops, Err: fmt.Errorf("at the end: %w", err)}
	}
	return nil
}

func (m *machine) close() error {
	err := unix.Close(m.fd)
	m.fd = -1
	return err
}

// grow makes the model as long, with zeros.
func (m *machine) grow(size int) {
	if size > len(m.model) {
		m.model = append(m.model, make([]byte, size-len(m.model))...)
	}
}

func (m *machine) clear(off, end int) {
	end = min(end, len(m.model))
	if off < end {
		clear(m.model[off:end])
	}
}

func (m *machine) do(o Op) error {
	end := o.Off + o.N
	switch o.Kind {
	case Read:
		return m.read(o)
	case Write:
		return m.write(o)
	case MapRead, MapWrite:
		return m.mapped(o)
	case Truncate:
		if err := again(func() error { return unix.Ftruncate(m.fd, int64(o.Off)) }); err != nil {
			return err
		}
		m.grow(o.Off)
		m.model = m.model[:o.Off:o.Off]
		return m.size()
	case Allocate:
		return m.fallocate(o, 0, func() { m.grow(end) })
	case Keep:
		return m.fallocate(o, unix.FALLOC_FL_KEEP_SIZE, func() {})
	case Punch:
		return m.fallocate(o, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, func() { m.clear(o.Off, end) })
	case Zero:
		return m.fallocate(o, unix.FALLOC_FL_ZERO_RANGE, func() { m.grow(end); m.clear(o.Off, end) })
	case Copy:
		return m.copy(o)
	case Sync:
		return again(func() error { return unix.Fsync(m.fd) })
	case Size:
		return m.size()
	case Reopen, Next:
		if err := m.close(); err != nil {
			return fmt.Errorf("close: %w", err)
		}
		if o.Kind == Next {
			m.at = (m.at + 1) % len(m.c.Paths)
			time.Sleep(m.c.Pause)
		}
		if err := m.open(0); err != nil {
			return err
		}
		return m.size()
	}
	return fmt.Errorf("unknown operation %q", o.Kind)
}

// again repeats what a signal of Go's runtime interrupted.
func again(f func() error) error {
	for {
		if err := f(); err != syscall.EINTR {
			return err
		}
	}
}

func (m *machine) size() error {
	var st unix.Stat_t
	if err := again(func() error { return unix.Fstat(m.fd, &st) }); err != nil {
		return err
	}
	if st.Size != int64(len(m.model)) {
		return fmt.Errorf("the file has size %#x, want %#x", st.Size, len(m.model))
	}
	return nil
}

func (m *machine) read(o Op) error {
	n := o.N
	if m.c.Direct {
		n = (n + block - 1) &^ (block - 1)
	}
	b := m.buf[:n]
	for i := range b {
		b[i] = 0xee
	}
	got := 0
	for got < n {
		k, err := unix.Pread(m.fd, b[got:], int64(o.Off+got))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if k == 0 || m.c.Direct && k%block != 0 {
			got += k
			break
		}
		got += k
	}
	want := m.model[min(o.Off, len(m.model)):min(o.Off+n, len(m.model))]
	if got != len(want) {
		return fmt.Errorf("read %#x bytes, want %#x", got, len(want))
	}
	return m.differ(b[:got], want, o.Off)
}

func (m *machine) differ(got, want []byte, off int) error {
	if bytes.Equal(got, want) {
		return nil
	}
	first, last := -1, 0
	for i := range want {
		if got[i] != want[i] {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	return fmt.Errorf("the file differs from %#x to %#x: %x…, want %x…", off+first, off+last,
		got[first:min(first+8, len(got))], want[first:min(first+8, len(want))])
}

// pattern fills b so that no two writes look alike.
func pattern(b []byte, o Op) {
	for i := range b {
		b[i] = o.Fill + byte((o.Off+i)>>9)
	}
}

func (m *machine) write(o Op) error {
	b := m.buf[:o.N]
	pattern(b, o)
	for done := 0; done < o.N; {
		n, err := unix.Pwrite(m.fd, b[done:], int64(o.Off+done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		done += n
	}
	m.grow(o.Off + o.N)
	copy(m.model[o.Off:], b)
	return nil
}

// mapped reads or writes through memory. What is written does not make a file
// longer, so it is truncated first.
func (m *machine) mapped(o Op) error {
	if o.Kind == MapRead {
		o.N = min(o.N, len(m.model)-o.Off)
		if o.N <= 0 {
			return nil
		}
	} else if o.Off+o.N > len(m.model) {
		if err := again(func() error { return unix.Ftruncate(m.fd, int64(o.Off+o.N)) }); err != nil {
			return err
		}
		m.grow(o.Off + o.N)
	}
	start := o.Off &^ (os.Getpagesize() - 1)
	prot := unix.PROT_READ
	if o.Kind == MapWrite {
		prot |= unix.PROT_WRITE
	}
	mem, err := unix.Mmap(m.fd, int64(start), o.Off-start+o.N, prot, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	part := mem[o.Off-start:]
	if o.Kind == MapRead {
		err = m.differ(part, m.model[o.Off:o.Off+o.N], o.Off)
	} else {
		pattern(part, o)
		copy(m.model[o.Off:], part)
		if o.Fill%4 == 0 {
			err = unix.Msync(mem, unix.MS_SYNC)
		}
	}
	return errors.Join(err, unix.Munmap(mem))
}

// fallocate does what the file system can; what it cannot it must say each time.
func (m *machine) fallocate(o Op, mode uint32, done func()) error {
	err := again(func() error { return unix.Fallocate(m.fd, mode, int64(o.Off), int64(o.N)) })
	return m.can(o.Kind, err, done)
}

// can applies what was done to the model, or notes what the file system lacks.
func (m *machine) can(k Kind, err error, done func()) error {
	switch {
	case err == unix.EOPNOTSUPP || err == unix.EXDEV:
		known, ok := m.lacks[k]
		if ok && !known {
			return fmt.Errorf("%w, and it worked before", err)
		}
		m.lacks[k] = true
		return nil
	case err != nil:
		return err
	}
	m.lacks[k] = false
	done()
	return m.size()
}

func (m *machine) copy(o Op) error {
	o.N = min(o.N, len(m.model)-o.Off)
	if m.c.Direct { // the kernel may copy by reading and writing
		o.N &^= block - 1
	}
	if o.N <= 0 || o.To < o.Off+o.N && o.Off < o.To+o.N {
		return nil // the kernel refuses ranges that overlap
	}
	for done := 0; done < o.N; {
		in, out := int64(o.Off+done), int64(o.To+done)
		var n int
		err := again(func() (err error) {
			n, err = unix.CopyFileRange(m.fd, &in, m.fd, &out, o.N-done, 0)
			return err
		})
		if done == 0 && (err == unix.EOPNOTSUPP || err == unix.EXDEV || err == unix.EINVAL && m.c.Direct) {
			return m.can(o.Kind, unix.EOPNOTSUPP, nil)
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("copied %#x of %#x bytes", done, o.N)
		}
		done += n
	}
	m.grow(o.To + o.N)
	copy(m.model[o.To:], bytes.Clone(m.model[o.Off:o.Off+o.N]))
	return m.can(o.Kind, nil, func() {})
}
