//go:build !linux

package cli

import "github.com/spf13/cobra"

// Programs is empty: GlusterFS's programs need Linux.
var Programs map[string]func(args []string) int

// exitError ends a command that has said what there is to say.
type exitError int

func (e exitError) Error() string { return "failed" }

// serverCommands is empty: serving and mounting need Linux.
func (a *app) serverCommands() []*cobra.Command { return nil }
