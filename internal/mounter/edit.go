package mounter

import (
	"fmt"
	"slices"
	"syscall"

	"github.com/wythefs/wythe/internal/volfile"
)

// editVolfile makes of a volume's volfile what the arguments want. unused hears
// of options of translators that fit nothing.
func editVolfile(a *Arguments, file *volfile.File, unused func(volfile.Override)) error {
	if a.VolumeName != "" {
		i := slices.IndexFunc(file.Volumes, func(v *volfile.Volume) bool { return v.Name == a.VolumeName })
		if i < 0 {
			return fmt.Errorf("volume-name %s: the volfile has no such volume; its top is %s: %w", a.VolumeName, file.Top().Name, syscall.ENOENT)
		}
		file.Volumes = below(file, a.VolumeName)
	}
	for _, v := range file.Volumes {
		// Bricks take the directory for the root, and know who may have it.
		if v.Type == "protocol/client" && a.Subdir != "" {
			v.Set("subdir-mount", a.Subdir)
		}
	}
	if a.Worm {
		name := "worm"
		for file.Volume(name) != nil {
			name += "-"
		}
		file.Volumes = append(file.Volumes, &volfile.Volume{
			Name: name, Type: "features/worm", Options: []volfile.Option{{Key: "worm", Value: "on"}}, Subvolumes: []string{file.Top().Name},
		})
	}
	if a.AuxGFID && file.Volume("gfid-access-autoload") == nil {
		file.Volumes = append(file.Volumes, &volfile.Volume{
			Name: "gfid-access-autoload", Type: "features/gfid-access", Subvolumes: []string{file.Top().Name},
		})
	}
	for _, o := range a.Overrides {
		if o.Apply(file) == 0 {
			unused(o)
		}
	}
	return nil
}

// below returns a volume and all that it stands on, in the file's order.
func below(file *volfile.File, top string) []*volfile.Volume {
	need := map[string]bool{top: true}
	var list []*volfile.Volume
	// A volume only names volumes above it in the text.
	for _, v := range slices.Backward(file.Volumes) {
		if need[v.Name] {
			for _, s := range v.Subvolumes {
				need[s] = true
			}
			list = append(list, v)
		}
	}
	slices.Reverse(list)
	return list
}
