package cli

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// tree is what a copy needs of either side: the local file system or a volume.
// Names are whole paths of that side.
type tree interface {
	Lstat(name string) (fs.FileInfo, error)
	Stat(name string) (fs.FileInfo, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	OpenFile(name string, flag int, perm fs.FileMode) (treeFile, error)
	Mkdir(name string, perm fs.FileMode) error
	MkdirAll(name string, perm fs.FileMode) error
	Symlink(target, name string) error
	Readlink(name string) (string, error)
	Rename(from, to string) error
	Remove(name string) error
	RemoveAll(name string) error
	Chmod(name string, mode fs.FileMode) error
	Chtimes(name string, atime, mtime time.Time) error
	Join(elem ...string) string
	Base(name string) string
	Dir(name string) string
	// Show is how messages name it.
	Show(name string) string
}

// treeFile is an open file of either side.
type treeFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

// localTree is the file system of this machine.
type localTree struct{}

// localTotals counts the regular files below dir and their bytes. What it
// cannot read is not counted; the copy will complain.
func localTotals(ctx context.Context, dir string) (files, bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, de fs.DirEntry, err error) error {
		if err == nil && de.Type().IsRegular() {
			if info, err := de.Info(); err == nil {
				files++
				bytes += info.Size()
			}
		}
		return ctx.Err()
	})
	return files, bytes
}

func (localTree) Lstat(name string) (fs.FileInfo, error)         { return os.Lstat(name) }
func (localTree) Stat(name string) (fs.FileInfo, error)          { return os.Stat(name) }
func (localTree) ReadDir(name string) ([]fs.DirEntry, error)     { return os.ReadDir(name) }
func (localTree) Mkdir(name string, perm fs.FileMode) error      { return os.Mkdir(name, perm) }
func (localTree) MkdirAll(name string, perm fs.FileMode) error   { return os.MkdirAll(name, perm) }
func (localTree) Symlink(target, name string) error              { return os.Symlink(target, name) }
func (localTree) Readlink(name string) (string, error)           { return os.Readlink(name) }
func (localTree) Rename(from, to string) error                   { return os.Rename(from, to) }
func (localTree) Remove(name string) error                       { return os.Remove(name) }
func (localTree) RemoveAll(name string) error                    { return os.RemoveAll(name) }
func (localTree) Chmod(name string, mode fs.FileMode) error      { return os.Chmod(name, mode) }
func (localTree) Chtimes(name string, atime, mt time.Time) error { return os.Chtimes(name, atime, mt) }
func (localTree) Join(elem ...string) string                     { return filepath.Join(elem...) }
func (localTree) Base(name string) string                        { return filepath.Base(name) }
func (localTree) Dir(name string) string                         { return filepath.Dir(name) }
func (localTree) Show(name string) string                        { return name }

func (localTree) OpenFile(name string, flag int, perm fs.FileMode) (treeFile, error) {
	return os.OpenFile(name, flag, perm)
}

// slashJoin, slashBase and slashDir are Join, Base and Dir of a volume.
func slashJoin(elem ...string) string { return path.Join(elem...) }
func slashBase(name string) string    { return path.Base(name) }
func slashDir(name string) string     { return path.Dir(name) }
