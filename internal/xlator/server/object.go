package server

import "github.com/wythefs/wythe/internal/fop"

// objectGFID returns where a request that works on one existing object names
// it, nil for all other requests.
func objectGFID(req fop.Request) *fop.GFID {
	g, _ := object(req)
	return g
}

// object returns where a request names the one object it works on, by GFID and
// by open file; nil for what it does not have.
func object(req fop.Request) (*fop.GFID, **fop.Fd) {
	switch q := req.(type) {
	case *fop.Read:
		return &q.GFID, &q.Fd
	case *fop.Write:
		return &q.GFID, &q.Fd
	case *fop.Fxattrop:
		return &q.GFID, &q.Fd
	case *fop.Finodelk:
		return &q.GFID, &q.Fd
	case *fop.Inodelk:
		return &q.GFID, nil
	case *fop.Flush:
		return &q.GFID, &q.Fd
	case *fop.Stat:
		return &q.GFID, nil
	case *fop.Fstat:
		return &q.GFID, &q.Fd
	case *fop.Readlink:
		return &q.GFID, nil
	case *fop.Truncate:
		return &q.GFID, nil
	case *fop.Open:
		return &q.GFID, nil
	case *fop.StatfsReq:
		return &q.GFID, nil
	case *fop.Fsync:
		return &q.GFID, &q.Fd
	case *fop.Setxattr:
		return &q.GFID, nil
	case *fop.Getxattr:
		return &q.GFID, nil
	case *fop.Removexattr:
		return &q.GFID, nil
	case *fop.Opendir:
		return &q.GFID, nil
	case *fop.Fsyncdir:
		return &q.GFID, &q.Fd
	case *fop.Access:
		return &q.GFID, nil
	case *fop.Ftruncate:
		return &q.GFID, &q.Fd
	case *fop.Lk:
		return &q.GFID, &q.Fd
	case *fop.Readdir:
		return &q.GFID, &q.Fd
	case *fop.Entrylk:
		return &q.GFID, nil
	case *fop.Fentrylk:
		return &q.GFID, &q.Fd
	case *fop.Xattrop:
		return &q.GFID, nil
	case *fop.Fgetxattr:
		return &q.GFID, &q.Fd
	case *fop.Fsetxattr:
		return &q.GFID, &q.Fd
	case *fop.Rchecksum:
		return &q.GFID, &q.Fd
	case *fop.Setattr:
		return &q.GFID, nil
	case *fop.Fsetattr:
		return &q.GFID, &q.Fd
	case *fop.Readdirp:
		return &q.GFID, &q.Fd
	case *fop.Release:
		return &q.GFID, &q.Fd
	case *fop.Releasedir:
		return &q.GFID, &q.Fd
	case *fop.Fremovexattr:
		return &q.GFID, &q.Fd
	case *fop.Fallocate:
		return &q.GFID, &q.Fd
	case *fop.Discard:
		return &q.GFID, &q.Fd
	case *fop.Zerofill:
		return &q.GFID, &q.Fd
	case *fop.Seek:
		return &q.GFID, &q.Fd
	case *fop.Lease:
		return &q.GFID, nil
	case *fop.Getactivelk:
		return &q.GFID, nil
	case *fop.Setactivelk:
		return &q.GFID, nil
	case *fop.Icreate:
		return &q.GFID, nil
	}
	return nil, nil
}
