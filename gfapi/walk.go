package gfapi

import (
	"context"
	"syscall"

	"github.com/wythefs/wythe/internal/paths"
)

// walk says how the view's paths are followed.
func (v *Volume) walk() *paths.Walk {
	return &paths.Walk{Cred: &v.cred, CredID: v.credID, Umask: v.m.umask, Root: v.root}
}

// at walks path and does f at the place, perhaps twice; see paths.Resolver.At.
func (v *Volume) at(ctx context.Context, path string, to paths.Aim, setup func(*paths.Walk), f func(paths.Place) error) error {
	w := v.walk()
	if setup != nil {
		setup(w)
	}
	return v.m.names.At(ctx, w, path, to, f)
}

// object walks to what must exist.
func (v *Volume) object(ctx context.Context, path string, to paths.Aim, needAll bool, f func(paths.Place) error) error {
	return v.at(ctx, path, to, func(w *paths.Walk) { w.NeedAll = needAll }, func(p paths.Place) error {
		if !p.Found {
			return syscall.ENOENT
		}
		return f(p)
	})
}

// entry walks to a name that is to be made, moved or removed.
func (v *Volume) entry(ctx context.Context, path string, f func(paths.Place) error) error {
	return v.at(ctx, path, paths.ToParent, nil, f)
}
