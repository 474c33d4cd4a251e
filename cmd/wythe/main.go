// Command wythe is the command line, the brick process, the embedded cluster
// and, by the name it is called with, GlusterFS's own programs.
package main

import (
	"os"
	"path/filepath"

	"github.com/wythefs/wythe/internal/cli"
)

func main() {
	switch filepath.Base(os.Args[0]) {
	case "glusterfsd":
		os.Exit(cli.Main(append([]string{"brick"}, os.Args[1:]...)))
	}
	os.Exit(cli.Main(os.Args[1:]))
}
