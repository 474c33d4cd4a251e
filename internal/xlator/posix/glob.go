package posix

// glob matches name against a pattern as fnmatch(3) does without flags: * and ?
// match any characters, slashes and leading dots too.
func glob(pattern, name string) bool {
	star, retry := -1, 0
	p, n := 0, 0
	for n < len(name) || p < len(pattern) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, retry = p, n
				p++
				continue
			}
			if n < len(name) {
				if next, ok := globOne(pattern, p, name[n]); ok {
					p, n = next, n+1
					continue
				}
			}
		}
		if star < 0 || retry >= len(name) {
			return false
		}
		retry++
		p, n = star+1, retry
	}
	return true
}

// globOne matches the single character c with the pattern at p and returns
// where the pattern goes on.
func globOne(pattern string, p int, c byte) (next int, ok bool) {
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '\\':
		if p+1 < len(pattern) {
			return p + 2, pattern[p+1] == c
		}
	case '[':
		if next, in, ok := globSet(pattern, p, c); ok {
			return next, in
		}
	}
	return p + 1, pattern[p] == c
}

// globSet matches a bracket expression; ok is false if it is not closed.
func globSet(pattern string, p int, c byte) (next int, in, ok bool) {
	i := p + 1
	not := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if not {
		i++
	}
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			return i + 1, in != not, true
		}
		lo, n := globChar(pattern, i)
		i += n
		hi := lo
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			hi, n = globChar(pattern, i+1)
			i += 1 + n
		}
		in = in || lo <= c && c <= hi
	}
	return 0, false, false
}

func globChar(pattern string, i int) (c byte, n int) {
	if pattern[i] == '\\' && i+1 < len(pattern) {
		return pattern[i+1], 2
	}
	return pattern[i], 1
}
