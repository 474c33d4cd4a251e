module github.com/wythefs/wythe

go 1.26
