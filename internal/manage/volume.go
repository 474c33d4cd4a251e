package manage

import (
	"fmt"
	"path"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/fop"
)

// Volume is one volume as the management knows it.
type Volume struct {
	Name string   `json:"name"`
	ID   fop.GFID `json:"id"` // volume-id, a UUID
	// User and Password are the pair that marks trusted clients, UUIDs as text.
	User     string  `json:"user"`
	Password string  `json:"password"`
	Bricks   []Brick `json:"bricks"` // the copies of a set stand together
	// Replica is how many bricks have each file, 0 and 1 mean one; Arbiter is how
	// many of them, the last, have no data of it: 0 or 1.
	Replica int `json:"replica,omitempty"`
	Arbiter int `json:"arbiter,omitempty"`
	// Options are volume options, by the names that `gluster volume set` knows.
	Options map[string]string `json:"options,omitempty"`
	// Allow is the list of client addresses for auth.addr; "" means "*".
	Allow string `json:"-"`
}

// Brick is one brick of a Volume. Its position is its number in the names of
// client translators.
type Brick struct {
	// Host is where clients find the brick; "" means at the address through
	// which they reached the management service.
	Host string `json:"host,omitempty"`
	Path string `json:"path"` // absolute
	// Shared is how many bricks of the volume are on the file system of this
	// one, itself included, as far as they are on one host; 0 means 1.
	Shared int `json:"-"`
}

// Shape is how many bricks a volume has and what they are for.
type Shape struct {
	Distribute int // sets over which files are distributed
	Replica    int // bricks that have each file of a set, the arbiter included
	Arbiter    int // how many of them keep no data, 0 or 1
}

// Check reports why no volume can have this shape.
func (s Shape) Check() error {
	switch {
	case s.Distribute < 1 || s.Distribute > maxBricks:
		return fmt.Errorf("files cannot be distributed over %d sets of bricks, give 1 to %d: %w", s.Distribute, maxBricks, syscall.EINVAL)
	case s.Replica < 1 || s.Replica > maxReplica:
		return fmt.Errorf("%d copies of a file cannot be, give 1 to %d: %w", s.Replica, maxReplica, syscall.EINVAL)
	case s.Distribute*s.Replica > maxBricks:
		return fmt.Errorf("%d × %d bricks are more than %d: %w", s.Distribute, s.Replica, maxBricks, syscall.EINVAL)
	case s.Arbiter != 0 && (s.Arbiter != 1 || s.Replica != 3):
		return fmt.Errorf("an arbiter stands beside two copies with data: give replica 3 with 1 arbiter, not replica %d with %d: %w", s.Replica, s.Arbiter, syscall.EINVAL)
	}
	return nil
}

// Bricks is how many bricks a volume of this shape has.
func (s Shape) Bricks() int { return s.Distribute * s.Replica }

// String writes the shape as `gluster volume info` does: "4", "2 x 2 = 4" or
// "2 x (2 + 1) = 6".
func (s Shape) String() string {
	switch {
	case s.Arbiter > 0:
		return fmt.Sprintf("%d x (%d + %d) = %d", s.Distribute, s.Replica-s.Arbiter, s.Arbiter, s.Bricks())
	case s.Replica > 1:
		return fmt.Sprintf("%d x %d = %d", s.Distribute, s.Replica, s.Bricks())
	}
	return fmt.Sprint(s.Distribute)
}

const (
	maxReplica = 16  // as many bits as cluster/replicate has for its children
	maxBricks  = 256 // in one process, which is for trials and small sites
)

// NewVolume makes a volume of the given brick directories, whose files are
// distributed over all of them.
func NewVolume(name string, bricks ...Brick) (*Volume, error) {
	return NewShapedVolume(name, Shape{Distribute: len(bricks), Replica: 1}, bricks...)
}

// NewShapedVolume makes a volume of the given brick directories. Bricks of one
// set stand together, its arbiter last.
func NewShapedVolume(name string, shape Shape, bricks ...Brick) (*Volume, error) {
	v := &Volume{
		Name:     name,
		ID:       fop.NewGFID(),
		User:     fop.NewGFID().String(),
		Password: fop.NewGFID().String(),
		Bricks:   bricks,
		Replica:  shape.Replica,
		Arbiter:  shape.Arbiter,
	}
	if len(bricks) != shape.Bricks() {
		return nil, fmt.Errorf("volume %s needs %d bricks, not %d: %w", name, shape.Bricks(), len(bricks), syscall.EINVAL)
	}
	return v, v.Check()
}

// Shape is the shape of the volume.
func (v *Volume) Shape() Shape {
	copies := max(v.Replica, 1)
	return Shape{Distribute: len(v.Bricks) / copies, Replica: copies, Arbiter: v.Arbiter}
}

// Set is the number of the set that brick i is in, and its place there.
func (v *Volume) Set(i int) (set, place int) {
	copies := max(v.Replica, 1)
	return i / copies, i % copies
}

// IsArbiter reports whether brick i keeps no data.
func (v *Volume) IsArbiter(i int) bool {
	_, place := v.Set(i)
	return v.Arbiter > 0 && place >= v.Replica-v.Arbiter
}

// Check reports what is wrong with the volume's name or bricks, nil if nothing.
// The rules for names are glusterd's.
func (v *Volume) Check() error {
	if v.Name == "" || len(v.Name) > 255 || strings.HasPrefix(v.Name, "-") {
		return fmt.Errorf("volume name %q must have 1 to 255 characters and not begin with -: %w", v.Name, syscall.EINVAL)
	}
	for _, c := range v.Name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return fmt.Errorf("volume name %q: only letters, digits, - and _ are allowed: %w", v.Name, syscall.EINVAL)
		}
	}
	if v.Name == "volume" || v.Name == "all" {
		return fmt.Errorf("volume name %q is a word of the command line: %w", v.Name, syscall.EINVAL)
	}
	if len(v.Bricks) == 0 {
		return fmt.Errorf("volume %s has no bricks: %w", v.Name, syscall.EINVAL)
	}
	shape := v.Shape()
	if len(v.Bricks) != shape.Bricks() {
		return fmt.Errorf("volume %s: %d bricks cannot be grouped by %d: %w", v.Name, len(v.Bricks), shape.Replica, syscall.EINVAL)
	}
	if err := shape.Check(); err != nil {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	if err := checkOptions(v.Options); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, b := range v.Bricks {
		if !path.IsAbs(b.Path) || path.Clean(b.Path) != b.Path {
			return fmt.Errorf("brick %q is not an absolute, clean path: %w", b.Path, syscall.EINVAL)
		}
		if strings.ContainsAny(b.Path, "\n\"\\ \t`") {
			return fmt.Errorf("brick %q: a brick's path cannot have blanks, quotes or backslashes: %w", b.Path, syscall.EINVAL)
		}
		if seen[b.Host+":"+b.Path] {
			return fmt.Errorf("brick %s is named twice: %w", b.Path, syscall.EINVAL)
		}
		seen[b.Host+":"+b.Path] = true
	}
	return nil
}

// ClientName is the name of the client translator of brick i.
func (v *Volume) ClientName(i int) string { return fmt.Sprintf("%s-client-%d", v.Name, i) }

// SetName is the name of the translator on top of a set of bricks.
func (v *Volume) SetName(set int) string {
	if v.Replica > 1 {
		return fmt.Sprintf("%s-replicate-%d", v.Name, set)
	}
	return v.ClientName(set)
}
