package gfapi

import "github.com/wythefs/wythe/internal/xlator/mem"

// InMemory is a volume for the examples.
func InMemory() *Volume {
	return newVolume(mem.NewFS(nil), newOptions([]Option{WithCredentials(Cred{})}), nil)
}
