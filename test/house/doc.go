// Package house holds the tests of the house rules: which package may import
// which (imports_test.go), that every package says what it is
// (comments_test.go), and that no dependency comes in unseen
// (dependencies_test.go, dependencies.txt; rewrite the file with
// `go test ./test/house -update`). `make check` runs them.
package house
