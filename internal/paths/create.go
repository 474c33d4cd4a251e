package paths

import (
	"context"
	"syscall"
)

// OpenOrCreate does open at the place of a path, or create where nothing is. A
// CREATE that may find a file would open it without a look at its permissions,
// and could follow a symbolic link on the brick: hence create must fail with
// EEXIST if the name is taken. Where the names that were created lately were
// new, the path is not looked up first.
func (r *Resolver) OpenOrCreate(ctx context.Context, walk *Walk, path string, open, create func(Place) error) error {
	guess := true
	for try := 0; ; try++ {
		err := r.At(ctx, walk, path, ToParent, func(p Place) error {
			if !guess || p.Name == "" || p.Slash || !r.Cache.ExpectNew(p.Dir) {
				return errGuess
			}
			err := create(p)
			if is(err, syscall.EEXIST) {
				r.Cache.SawNew(p.Dir, false)
				return errGuess
			}
			return err
		})
		if err != errGuess {
			return err
		}
		guess = false
		err = r.At(ctx, walk, path, ToTarget, func(p Place) error {
			if p.Found {
				err := open(p)
				if !p.IsDir {
					r.Cache.SawNew(p.Dir, false)
				}
				return err
			}
			err := create(p)
			if err == nil {
				r.Cache.SawNew(p.Dir, true)
			}
			return err
		})
		// Somebody else may make or remove the file between the two steps.
		if try >= 10 || !is(err, syscall.EEXIST, syscall.ESTALE) {
			return err
		}
	}
}

// errGuess says that a file was not created without looking.
var errGuess error = guessError{}

type guessError struct{}

func (guessError) Error() string { return "the name may be taken" }
