//go:build !linux

package cli

import "github.com/spf13/cobra"

// serverCommands is empty: serving needs Linux.
func (a *app) serverCommands() []*cobra.Command { return nil }
