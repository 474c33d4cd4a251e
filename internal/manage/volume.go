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
	Bricks   []Brick `json:"bricks"`
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
	Port int    `json:"-"`    // 0 while not running
}

// NewVolume makes a volume of the given brick directories.
func NewVolume(name string, bricks ...Brick) (*Volume, error) {
	v := &Volume{
		Name:     name,
		ID:       fop.NewGFID(),
		User:     fop.NewGFID().String(),
		Password: fop.NewGFID().String(),
		Bricks:   bricks,
	}
	return v, v.Check()
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
