# make run     the demonstration: an embedded cluster, a source tree copied in and verified
# make test    everything that CI runs; sets up the programs that tests need (SETUP=no forbids)
# make check   formatting, vet, staticcheck, cross builds, house rules, fresh generated files
# make build   static binaries under bin/, and the names by which they are GlusterFS's programs
# make install wythe, those names and the C library with its headers under DESTDIR and PREFIX
#              (/usr); what is there of others' stays (FORCE=1: replaced)
# make libgfapi   the C library and its engine under bin/lib (needs a C compiler);
#                 libgfapi-stubs makes the empty libraries that some programs want beside it
# make install-programs, make install-libgfapi   the parts of make install
# make bench   comparisons with the distribution's GlusterFS
# make fuzz    each fuzz target for FUZZTIME (10m), FUZZJOBS of them at a time (1)

GO       ?= go
FUZZTIME ?= 10m
FUZZJOBS ?= 1
PREFIX   ?= /usr
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

export GO FUZZTIME FUZZJOBS

# Of libgfapi: where it is built, and where it is installed.
CC       ?= cc
CFLAGS   ?= -O2 -g
LIBOUT   ?= bin/lib
LIBDIR   ?= $(PREFIX)/lib

.PHONY: all run build libgfapi libgfapi-shim libgfapi-engine libgfapi-stubs install install-programs install-libgfapi test check quick bench fuzz generate generated fmt vet staticcheck cross house clean

all: build

run:
	$(GO) run ./cmd/wythe demo

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X github.com/wythefs/wythe/internal/cli.Version=$(VERSION)' -o bin/ ./cmd/...
	@for name in $(NAMES); do ln -sf wythe bin/$$name; done

# The programs of GlusterFS that wythe is by the name it is called with.
NAMES = glusterfs glusterfsd mount.glusterfs mount.fuse.glusterfs

# The C library: a thin one in C that programs load, and its engine in Go.
libgfapi: libgfapi-shim libgfapi-engine

libgfapi-shim:
	mkdir -p $(LIBOUT)
	$(CC) $(CFLAGS) -std=gnu11 -fPIC -fvisibility=default -Wall -Wextra -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Icapi/include -shared \
		-Wl,-soname,libgfapi.so.0 -Wl,--version-script=capi/shim/gfapi.map -Wl,-z,nodelete -Wl,-z,defs $(LDFLAGS) \
		-o $(LIBOUT)/libgfapi.so.0.0.0 capi/shim/*.c -lpthread -ldl
	ln -sf libgfapi.so.0.0.0 $(LIBOUT)/libgfapi.so.0
	ln -sf libgfapi.so.0 $(LIBOUT)/libgfapi.so

libgfapi-engine:
	CGO_ENABLED=1 $(GO) build -trimpath -buildmode=c-shared $(ENGINEFLAGS) -ldflags '-s -w -extldflags "-Wl,-soname,libwythe-gfapi.so"' -o $(LIBOUT)/libwythe-gfapi.so ./capi/engine
	rm -f $(LIBOUT)/libwythe-gfapi.h

# Programs that were linked without --as-needed may ask for libraries of GlusterFS
# that they do not use. These are there, and empty.
libgfapi-stubs:
	mkdir -p $(LIBOUT)
	for lib in libglusterfs libgfrpc libgfxdr; do \
		$(CC) -shared -fPIC -x c /dev/null -Wl,-soname,$$lib.so.0 -o $(LIBOUT)/$$lib.so.0 || exit 1; \
	done

INSTALL = DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' FORCE='$(FORCE)' scripts/install

install: install-programs
	@if echo 'int main(void) { return 0; }' | $(CC) -x c -o /dev/null - 2>/dev/null; then \
		$(MAKE) --no-print-directory install-libgfapi; \
	else \
		echo 'libgfapi.so.0 is left out: there is no C compiler ($(CC)) to build it with'; \
	fi

install-programs: build
	$(INSTALL) bin/wythe

install-libgfapi: libgfapi
	$(INSTALL) --libgfapi $(LIBOUT)

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
	WYTHE_BENCH=1 $(GO) test -count=1 -timeout 1h -v -run TestBench ./capi

fuzz:
	scripts/fuzz

clean:
	rm -rf bin build
