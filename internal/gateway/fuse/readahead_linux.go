package fuse

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// readAheadKiB is how much of a file that is read from front to back the kernel
// asks for ahead. Its own default, 128, makes eight messages of each MiB, and has
// a reader wait for the network each time.
const readAheadKiB = 2048

// readAhead has the kernel read that much ahead on the mount's device. A kernel can
// be told through sysfs only; where that cannot be written, as in many containers,
// files are read with the kernel's default.
func (s *Server) readAhead(device uint64) {
	name := fmt.Sprintf("/sys/class/bdi/%d:%d/read_ahead_kb", unix.Major(device), unix.Minor(device))
	if err := os.WriteFile(name, []byte(strconv.Itoa(readAheadKiB)), 0); err != nil {
		s.cfg.Log.Debug("read-ahead of the mount stays as it is", "err", err)
	}
}
