// Command wythe is the command line, the brick process, the embedded cluster,
// the client of mounts and, by the name it is called with, GlusterFS's own
// programs.
package main

import (
	"os"
	"path/filepath"

	"github.com/wythefs/wythe/internal/cli"
)

func main() {
	if program, ok := cli.Programs[filepath.Base(os.Args[0])]; ok {
		os.Exit(program(os.Args[1:]))
	}
	os.Exit(cli.Main(os.Args[1:]))
}
