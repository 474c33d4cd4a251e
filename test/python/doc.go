// Package python runs the tests of the Python package (python/tests) on
// {Wythe's C library, GlusterFS's} × {a volume of ours, one of GlusterFS's}.
//
//	go test ./test/python                    # what CI runs
//	go test ./test/python -python.long       # every test in all four places
//	go test ./test/python -run Bench -v      # listings, reads and writes against libgfapi
//
// The tests themselves need no Go: WYTHE_TEST_URL=gluster://host:port/volume
// python3 -m pytest in python/ runs them anywhere.
package python
