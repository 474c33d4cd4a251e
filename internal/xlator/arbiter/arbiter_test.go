package arbiter

import (
	"errors"
	"syscall"
	"testing"

	"github.com/wythefs/wythe/internal/fop"
	"github.com/wythefs/wythe/internal/xlator"
	"github.com/wythefs/wythe/internal/xlator/conformance"
	"github.com/wythefs/wythe/internal/xlator/mem"
)

func newArbiter(t *testing.T, child fop.Handler) fop.Handler {
	h, err := New(xlator.Config{Children: []xlator.Child{{Handler: child}}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Names, attributes, xattrs and locks are as on any brick.
func TestConformance(t *testing.T) {
	skip := map[string]string{}
	for _, name := range []string{"lookup", "create", "createExisting", "link", "unlinkOpen", "rename", "renameOverOpen", "gone",
		"readWrite", "anonymousFd", "append", "openErrors", "truncate", "sparse", "fallocate", "zerofill", "copyRange", "rchecksum",
		"syncFlush", "writeXData", "setattrTimes", "xattrReply", "lookupXData", "parallelMix", "parallelIO"} {
		skip[name] = "it looks for the data or the size of what it wrote"
	}
	conformance.Run(t, func(t *testing.T) fop.Handler { return newArbiter(t, mem.NewFS(nil)) },
		conformance.Options{Locks: true, Devices: true, Skip: skip})
}

// TestNoData is the table of the fops that would change data, or read it.
func TestNoData(t *testing.T) {
	ctx := t.Context()
	disk := mem.NewFS(nil)
	h := newArbiter(t, disk)
	gfid := fop.NewGFID()
	fd := &fop.Fd{Flags: fop.ORdwr}
	created, err := fop.Call(ctx, h, &fop.Create{Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(gfid)})},
		Parent: fop.RootGFID, Name: "file", Flags: fop.ORdwr, Mode: 0o644, Fd: fd})
	if err != nil {
		t.Fatal(err)
	}
	gfid = created.Stat.GFID
	fd.GFID = gfid
	for _, anonymous := range []bool{false, true} {
		f := fd
		if anonymous {
			f = nil
		}
		wrote, err := fop.Call(ctx, h, &fop.Write{Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyWriteAppend, Val: fop.Uint(0)})},
			GFID: gfid, Fd: f, Offset: 1 << 40, Data: []byte{0xff}})
		if err != nil || wrote.Size != 1 || wrote.XData.Int(fop.KeyWriteAppend) != 1 || wrote.XData.Has(fop.KeyActiveFdCount) {
			t.Errorf("write: %+v, %v", wrote, err)
		} else if wrote.Pre != wrote.Post || wrote.Post.GFID != gfid || wrote.Post.Size != 0 {
			t.Errorf("write: attributes %+v and %+v", wrote.Pre, wrote.Post)
		}
		for _, req := range []fop.Request{
			&fop.Truncate{GFID: gfid, Offset: 4096}, &fop.Ftruncate{GFID: gfid, Fd: f, Offset: 4096},
			&fop.Fallocate{GFID: gfid, Fd: f, Offset: 0, Size: 4096}, &fop.Discard{GFID: gfid, Fd: f, Size: 10}, &fop.Zerofill{GFID: gfid, Fd: f, Size: 4096},
		} {
			reply, err := h.Do(ctx, req)
			if err != nil {
				t.Errorf("%v: %v", req.Op(), err)
				continue
			}
			if r := reply.(*fop.AttrReply); r.Pre != r.Post || r.Post.GFID != gfid || r.Post.Size != 0 {
				t.Errorf("%v: attributes %+v and %+v", req.Op(), r.Pre, r.Post)
			}
		}
		for _, req := range []fop.Request{&fop.Read{GFID: gfid, Fd: f, Size: 1}, &fop.Seek{GFID: gfid, Fd: f}} {
			if _, err := h.Do(ctx, req); !errors.Is(err, syscall.ENOSYS) {
				t.Errorf("%v: %v, want ENOSYS", req.Op(), err)
			}
		}
	}
	st, err := fop.Call(ctx, disk, &fop.Stat{GFID: gfid})
	if err != nil || st.Stat.Size != 0 || st.Stat.Blocks != 0 || st.Stat.Mtime != created.Stat.Mtime {
		t.Errorf("on the disk: %+v, %v", st, err)
	}
	// What is not there cannot be written to.
	for _, req := range []fop.Request{&fop.Write{GFID: fop.NewGFID(), Data: []byte{1}}, &fop.Truncate{GFID: fop.NewGFID()}} {
		if _, err := h.Do(ctx, req); !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ESTALE) {
			t.Errorf("%v of nothing: %v", req.Op(), err)
		}
	}
	// PUT makes the file, empty.
	if put, err := fop.Call(ctx, h, &fop.Put{Header: fop.Header{XData: fop.NewDict(fop.Pair{Key: fop.KeyGFIDReq, Val: fop.GFIDValue(fop.NewGFID())})},
		Parent: fop.RootGFID, Name: "put", Mode: 0o644, Data: []byte("data")}); err != nil && !errors.Is(err, syscall.ENOTSUP) && !errors.Is(err, syscall.ENOSYS) {
		t.Error(err)
	} else if err == nil && put.Stat.Size != 0 {
		t.Errorf("PUT made a file of %d bytes", put.Stat.Size)
	}
}
