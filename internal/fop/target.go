package fop

// WithXData returns a shallow copy of req whose XData is d, for a translator
// that changes what it passes on.
func WithXData(req Request, d *Dict) Request {
	switch r := req.(type) {
	case *Stat:
		q := *r
		q.XData = d
		return &q
	case *Readlink:
		q := *r
		q.XData = d
		return &q
	case *Mknod:
		q := *r
		q.XData = d
		return &q
	case *Mkdir:
		q := *r
		q.XData = d
		return &q
	case *Unlink:
		q := *r
		q.XData = d
		return &q
	case *Rmdir:
		q := *r
		q.XData = d
		return &q
	case *Symlink:
		q := *r
		q.XData = d
		return &q
	case *Rename:
		q := *r
		q.XData = d
		return &q
	case *Link:
		q := *r
		q.XData = d
		return &q
	case *Truncate:
		q := *r
		q.XData = d
		return &q
	case *Open:
		q := *r
		q.XData = d
		return &q
	case *Read:
		q := *r
		q.XData = d
		return &q
	case *Write:
		q := *r
		q.XData = d
		return &q
	case *StatfsReq:
		q := *r
		q.XData = d
		return &q
	case *Flush:
		q := *r
		q.XData = d
		return &q
	case *Fsync:
		q := *r
		q.XData = d
		return &q
	case *Setxattr:
		q := *r
		q.XData = d
		return &q
	case *Getxattr:
		q := *r
		q.XData = d
		return &q
	case *Removexattr:
		q := *r
		q.XData = d
		return &q
	case *Opendir:
		q := *r
		q.XData = d
		return &q
	case *Fsyncdir:
		q := *r
		q.XData = d
		return &q
	case *Access:
		q := *r
		q.XData = d
		return &q
	case *Create:
		q := *r
		q.XData = d
		return &q
	case *Ftruncate:
		q := *r
		q.XData = d
		return &q
	case *Fstat:
		q := *r
		q.XData = d
		return &q
	case *Lk:
		q := *r
		q.XData = d
		return &q
	case *Lookup:
		q := *r
		q.XData = d
		return &q
	case *Readdir:
		q := *r
		q.XData = d
		return &q
	case *Inodelk:
		q := *r
		q.XData = d
		return &q
	case *Finodelk:
		q := *r
		q.XData = d
		return &q
	case *Entrylk:
		q := *r
		q.XData = d
		return &q
	case *Fentrylk:
		q := *r
		q.XData = d
		return &q
	case *Xattrop:
		q := *r
		q.XData = d
		return &q
	case *Fxattrop:
		q := *r
		q.XData = d
		return &q
	case *Fgetxattr:
		q := *r
		q.XData = d
		return &q
	case *Fsetxattr:
		q := *r
		q.XData = d
		return &q
	case *Rchecksum:
		q := *r
		q.XData = d
		return &q
	case *Setattr:
		q := *r
		q.XData = d
		return &q
	case *Fsetattr:
		q := *r
		q.XData = d
		return &q
	case *Readdirp:
		q := *r
		q.XData = d
		return &q
	case *Release:
		q := *r
		q.XData = d
		return &q
	case *Releasedir:
		q := *r
		q.XData = d
		return &q
	case *Fremovexattr:
		q := *r
		q.XData = d
		return &q
	case *Fallocate:
		q := *r
		q.XData = d
		return &q
	case *Discard:
		q := *r
		q.XData = d
		return &q
	case *Zerofill:
		q := *r
		q.XData = d
		return &q
	case *Ipc:
		q := *r
		q.XData = d
		return &q
	case *Seek:
		q := *r
		q.XData = d
		return &q
	case *Lease:
		q := *r
		q.XData = d
		return &q
	case *Getactivelk:
		q := *r
		q.XData = d
		return &q
	case *Setactivelk:
		q := *r
		q.XData = d
		return &q
	case *Icreate:
		q := *r
		q.XData = d
		return &q
	case *Namelink:
		q := *r
		q.XData = d
		return &q
	case *Put:
		q := *r
		q.XData = d
		return &q
	case *CopyFileRange:
		q := *r
		q.XData = d
		return &q
	case *Disconnect:
		q := *r
		q.XData = d
		return &q
	}
	return req
}

// Target returns what req works on: the object, and its Fd where one came
// along. For a fop on an entry that is the directory (of a rename the old one).
func Target(req Request) (GFID, *Fd) {
	switch r := req.(type) {
	case *Stat:
		return r.GFID, nil
	case *Readlink:
		return r.GFID, nil
	case *Mknod:
		return r.Parent, nil
	case *Mkdir:
		return r.Parent, nil
	case *Unlink:
		return r.Parent, nil
	case *Rmdir:
		return r.Parent, nil
	case *Symlink:
		return r.Parent, nil
	case *Rename:
		return r.OldParent, nil
	case *Link:
		return r.Parent, nil
	case *Truncate:
		return r.GFID, nil
	case *Open:
		return r.GFID, nil
	case *Read:
		return r.GFID, r.Fd
	case *Write:
		return r.GFID, r.Fd
	case *StatfsReq:
		return r.GFID, nil
	case *Flush:
		return r.GFID, r.Fd
	case *Fsync:
		return r.GFID, r.Fd
	case *Setxattr:
		return r.GFID, nil
	case *Getxattr:
		return r.GFID, nil
	case *Removexattr:
		return r.GFID, nil
	case *Opendir:
		return r.GFID, nil
	case *Fsyncdir:
		return r.GFID, r.Fd
	case *Access:
		return r.GFID, nil
	case *Create:
		return r.Parent, nil
	case *Ftruncate:
		return r.GFID, r.Fd
	case *Fstat:
		return r.GFID, r.Fd
	case *Lk:
		return r.GFID, r.Fd
	case *Lookup:
		if r.Name != "" {
			return r.Parent, nil
		}
		return r.GFID, nil
	case *Readdir:
		return r.GFID, r.Fd
	case *Inodelk:
		return r.GFID, nil
	case *Finodelk:
		return r.GFID, r.Fd
	case *Entrylk:
		return r.GFID, nil
	case *Fentrylk:
		return r.GFID, r.Fd
	case *Xattrop:
		return r.GFID, nil
	case *Fxattrop:
		return r.GFID, r.Fd
	case *Fgetxattr:
		return r.GFID, r.Fd
	case *Fsetxattr:
		return r.GFID, r.Fd
	case *Rchecksum:
		return r.GFID, r.Fd
	case *Setattr:
		return r.GFID, nil
	case *Fsetattr:
		return r.GFID, r.Fd
	case *Readdirp:
		return r.GFID, r.Fd
	case *Release:
		return r.GFID, r.Fd
	case *Releasedir:
		return r.GFID, r.Fd
	case *Fremovexattr:
		return r.GFID, r.Fd
	case *Fallocate:
		return r.GFID, r.Fd
	case *Discard:
		return r.GFID, r.Fd
	case *Zerofill:
		return r.GFID, r.Fd
	case *Seek:
		return r.GFID, r.Fd
	case *Lease:
		return r.GFID, nil
	case *Getactivelk:
		return r.GFID, nil
	case *Setactivelk:
		return r.GFID, nil
	case *Icreate:
		return r.GFID, nil
	case *Namelink:
		return r.Parent, nil
	case *Put:
		return r.Parent, nil
	case *CopyFileRange:
		return r.GFID, r.Fd
	}
	return GFID{}, nil
}

// Changes reports whether req changes an object, a name, or what bricks keep
// beside them. An Open that empties the file does.
func Changes(req Request) bool {
	switch r := req.(type) {
	case *Open:
		return r.Flags&OTrunc != 0
	case *Write, *Mknod, *Mkdir, *Unlink, *Rmdir, *Symlink, *Rename, *Link, *Create, *Put, *Icreate, *Namelink,
		*Truncate, *Ftruncate, *Fallocate, *Discard, *Zerofill, *CopyFileRange, *Setattr, *Fsetattr,
		*Setxattr, *Fsetxattr, *Removexattr, *Fremovexattr, *Xattrop, *Fxattrop:
		return true
	}
	return false
}
