package fuse

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/wythefs/wythe/internal/fop"
)

// mountFlags are the options of mount(8) that the kernel wants as bits.
var mountFlags = map[string]struct{ set, clear uintptr }{
	"ro": {set: unix.MS_RDONLY}, "rw": {clear: unix.MS_RDONLY},
	"nosuid": {set: unix.MS_NOSUID}, "suid": {clear: unix.MS_NOSUID},
	"nodev": {set: unix.MS_NODEV}, "dev": {clear: unix.MS_NODEV},
	"noexec": {set: unix.MS_NOEXEC}, "exec": {clear: unix.MS_NOEXEC},
	"sync": {set: unix.MS_SYNCHRONOUS}, "async": {clear: unix.MS_SYNCHRONOUS},
	"dirsync": {set: unix.MS_DIRSYNC},
	"noatime": {set: unix.MS_NOATIME}, "atime": {clear: unix.MS_NOATIME},
	"nodiratime": {set: unix.MS_NODIRATIME}, "diratime": {clear: unix.MS_NODIRATIME},
	"relatime": {set: unix.MS_RELATIME}, "norelatime": {clear: unix.MS_RELATIME},
	"strictatime": {set: unix.MS_STRICTATIME}, "nostrictatime": {clear: unix.MS_STRICTATIME},
	"lazytime": {set: unix.MS_LAZYTIME}, "nolazytime": {clear: unix.MS_LAZYTIME},
	"lazyatime": {set: unix.MS_LAZYTIME}, "nolazyatime": {clear: unix.MS_LAZYTIME}, // as GlusterFS spells them
}

// mountData are options that the kernel takes as words.
var mountData = []string{"context", "fscontext", "defcontext", "rootcontext", "max_read", "blksize"}

// options sorts the mount options into the flags and the words of mount(2).
func (c *Config) options() (flags uintptr, data []string, err error) {
	for _, o := range c.MountOptions {
		if f, ok := mountFlags[o]; ok {
			flags = flags&^f.clear | f.set
			continue
		}
		key, _, _ := strings.Cut(o, "=")
		switch {
		case o == "" || o == "auto_unmount": // what auto_unmount does happens anyway
		case o == "default_permissions", o == "allow_other": // we ask for both
		default:
			known := false
			for _, k := range mountData {
				known = known || key == k
			}
			if !known {
				return 0, nil, fmt.Errorf("mount option %q is unknown to the kernel's FUSE: %w", o, syscall.EINVAL)
			}
			data = append(data, o)
		}
	}
	if c.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	return flags, data, nil
}

// attach calls mount(2).
func (s *Server) attach(dir string) error {
	flags, words, err := s.cfg.options()
	if err != nil {
		return err
	}
	data := []string{fmt.Sprintf("fd=%d", s.fd), fmt.Sprintf("rootmode=%o", fop.ModeDir),
		fmt.Sprintf("user_id=%d", os.Geteuid()), fmt.Sprintf("group_id=%d", os.Getegid()), "allow_other"}
	if !s.cfg.ACL {
		data = append(data, "default_permissions")
	}
	data = append(data, words...)
	source := s.cfg.Source
	if source == "" {
		source = "glusterfs"
	}
	err = unix.Mount(source, dir, "fuse.glusterfs", flags, strings.Join(data, ","))
	switch err {
	case nil:
		return nil
	case unix.EPERM:
		return fmt.Errorf("mount %s: only root may mount: %w", dir, err)
	default:
		return fmt.Errorf("mount %s: %w", dir, err)
	}
}

// errorReply puts an error into a reply.
func errorReply(in, out []byte, st fuse.Status) int {
	binary.NativeEndian.PutUint32(out, 16)
	binary.NativeEndian.PutUint32(out[4:], uint32(-int32(st)))
	copy(out[8:16], in[8:16])
	return 16
}

// interrupt ends a request that waits, as if its caller had got a signal.
func (s *Server) interrupt(unique uint64) {
	in := make([]byte, inHeaderSize+8)
	binary.NativeEndian.PutUint32(in, uint32(len(in)))
	binary.NativeEndian.PutUint32(in[4:], opInterrupt)
	binary.NativeEndian.PutUint64(in[inHeaderSize:], unique)
	s.serve([][]byte{in}, [][]byte{make([]byte, headerRoom)})
}

func (s *Server) transport() Transport {
	if s.ring != nil {
		return TransportURing
	}
	return TransportDev
}

// close releases what the kernel had open when it went.
func (b *bridge) close() {
	for i := range b.files.all {
		if f := b.files.take(uint64(i)); f != nil {
			f.n.dropOpen(f)
			b.letGo(f)
		}
	}
	for i := range b.dirs.all {
		b.ReleaseDir(&fuse.ReleaseIn{Fh: uint64(i)})
	}
}
