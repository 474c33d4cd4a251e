package gfapi

import "io/fs"

// FS returns the view as an [io/fs.FS]. It also has ReadFile, ReadDir, Stat,
// Lstat, ReadLink and Sub of package io/fs; names are as that package has them,
// without a leading slash and without "..".
func (v *Volume) FS() fs.FS { return volumeFS{v} }

type volumeFS struct{ v *Volume }

var (
	_ fs.StatFS     = volumeFS{}
	_ fs.ReadFileFS = volumeFS{}
	_ fs.ReadDirFS  = volumeFS{}
	_ fs.ReadLinkFS = volumeFS{}
	_ fs.SubFS      = volumeFS{}
)

// valid refuses what package io/fs does not allow.
func valid(op, name string) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return nil
}

func (f volumeFS) Open(name string) (fs.File, error) {
	if err := valid("open", name); err != nil {
		return nil, err
	}
	file, err := f.v.Open(name)
	if err != nil {
		return nil, err
	}
	return file, nil
}

func (f volumeFS) Stat(name string) (fs.FileInfo, error) {
	if err := valid("stat", name); err != nil {
		return nil, err
	}
	return f.v.Stat(name)
}

func (f volumeFS) Lstat(name string) (fs.FileInfo, error) {
	if err := valid("lstat", name); err != nil {
		return nil, err
	}
	return f.v.Lstat(name)
}

func (f volumeFS) ReadLink(name string) (string, error) {
	if err := valid("readlink", name); err != nil {
		return "", err
	}
	return f.v.Readlink(name)
}

func (f volumeFS) ReadFile(name string) ([]byte, error) {
	if err := valid("open", name); err != nil {
		return nil, err
	}
	return f.v.ReadFile(name)
}

func (f volumeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := valid("open", name); err != nil {
		return nil, err
	}
	return f.v.ReadDir(name)
}

func (f volumeFS) Sub(dir string) (fs.FS, error) {
	if err := valid("sub", dir); err != nil {
		return nil, err
	}
	v, err := f.v.Sub(dir)
	if err != nil {
		return nil, err
	}
	return volumeFS{v}, nil
}
