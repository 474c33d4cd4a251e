// Package paths finds where paths of a volume lead: element by element, through
// symbolic links, with a cache of directories and links so that a path does not
// cost a round trip per element. gfapi and the C library stand on it.
//
//	r := paths.Resolver{Vol: vol, Cache: paths.NewCache(time.Second)}
//	err := r.At(ctx, &paths.Walk{Cred: &cred, Root: fop.RootGFID}, "a/b", paths.ToTarget, func(p paths.Place) error {
//		if !p.Found {
//			return syscall.ENOENT
//		}
//		… p.GFID …
//	})
//
// What it promises:
//
//   - No path leads above the root that it begins at. A symbolic link that
//     begins with a slash goes on at that root.
//   - What the cache says is checked by use: where it turns out to be wrong the
//     path is followed once more without it. Hence the function given to
//     At may be called twice.
//   - What the caller may pass, servers decide.
//
// Read next: walk.go, cache.go.
package paths
