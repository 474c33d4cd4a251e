package brick

import (
	"os"
	"testing"
)

// asProcess makes the test binary a brick process.
const asProcess = "WYTHE_TEST_BRICK_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(asProcess) != "" {
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}
