package robust

import (
	"testing"

	"github.com/wythefs/wythe/internal/brick/check"
)

// checkBrick inspects a brick that is not served just now.
func checkBrick(t testing.TB, dir string) {
	t.Helper()
	sum, err := check.Run(t.Context(), dir, check.Options{Report: func(p check.Problem) { t.Errorf("brick %s: %+v", dir, p) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("brick %s: %+v", dir, sum)
}
