# make run     the demonstration: an embedded cluster, a source tree copied in and verified
# make test    everything that CI runs; sets up the programs that tests need (SETUP=no forbids)
# make check   formatting, vet, staticcheck, cross builds, house rules, fresh generated files
# make build   static binaries under bin/
# make bench   comparisons with the distribution's GlusterFS
# make fuzz    each fuzz target for FUZZTIME (10m), FUZZJOBS of them at a time (1)

GO       ?= go
FUZZTIME ?= 10m
FUZZJOBS ?= 1
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

export GO FUZZTIME FUZZJOBS

.PHONY: all run build test check quick bench fuzz generate generated fmt vet staticcheck cross house clean

all: build

run:
	$(GO) run ./cmd/wythe demo

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X github.com/wythefs/wythe/internal/cli.Version=$(VERSION)' -o bin/ ./cmd/...

# The part that needs no root and no other programs, for the inner loop.
quick:
	$(GO) test -short ./...

test:
	scripts/setup-peers
	$(MAKE) --no-print-directory check
	$(GO) run ./test/run

check: fmt vet staticcheck cross house generated

fmt:
	@bad=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go' | while read -r f; do test -f "$$f" && echo "$$f"; done)); \
	if [ -n "$$bad" ]; then echo "not formatted by gofmt:"; echo "$$bad"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

# The client library is for darwin and windows too, and needs no C compiler.
cross:
	@if [ -d gfapi ]; then for os in darwin windows; do for arch in amd64 arm64; do \
		echo "build gfapi for $$os/$$arch"; \
		GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 $(GO) build ./gfapi/... || exit 1; \
	done; done; fi

# The import graph, a comment on every package, the frozen list of dependencies.
house:
	$(GO) test -count=1 ./test/house

generate:
	$(GO) generate ./...

# Generated files are what the generators make of the sources.
generated:
	scripts/check-generated

bench:
	WYTHE_BENCH=1 $(GO) test -count=1 -timeout 2h -v ./test/bench/...

fuzz:
	scripts/fuzz

clean:
	rm -rf bin build
