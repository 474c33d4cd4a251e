package posix

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/wythefs/wythe/internal/xlator"
)

// parseReserve reads the option reserve: below 100, or with a percent sign, a
// share of the file system, else a number of bytes.
func (s *settings) parseReserve(text string) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	if f, err := strconv.ParseFloat(number, 64); err == nil && f >= 0 && (percent && f <= 100 || f < 100) {
		s.reserve, s.reservePercent = f, true
		return nil
	}
	n, err := xlator.ParseSize(text)
	if err != nil {
		return fmt.Errorf("option reserve: %q is neither a percentage nor a size: %w", text, syscall.EINVAL)
	}
	s.reserve, s.reservePercent = float64(n), false
	return nil
}

// reserved returns the number of blocks of that size that are kept back.
func (s *settings) reserved(blocks, size uint64) uint64 {
	if s.reservePercent {
		return uint64(float64(blocks)*s.reserve/100 + 0.5)
	}
	size = max(size, 1)
	return (uint64(s.reserve) + size - 1) / size
}
