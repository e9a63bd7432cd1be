# Everything a change is checked with is a target here; `make help` lists them. Go, make and a POSIX shell are enough.

.DEFAULT_GOAL := help

GO   ?= go
TOOL := $(GO) tool -modfile=internal/tools/go.mod

# What to test, race or measure, as package patterns.
PKG ?= ./...

# Settings of single targets.
FUZZTIME ?= 60s
FUZZ     ?= .
BENCH    ?= .
COUNT    ?= 6
RUNS     ?= 50
RELAY    ?=
COMPARE  ?=
MODULES  ?= examples/grpc bench
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## the programs of cmd/, statically linked, into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ ./cmd/...

.PHONY: test
test: ## all tests that need nothing but Go (PKG=./flow/...)
	$(GO) test -shuffle=on $(PKG)

# -short leaves out what is long and has one goroutine: there the race detector finds nothing and is ten times as slow.
.PHONY: race
race: ## the shorter of them under the race detector, which needs a C compiler (PKG=./flow/...)
	CGO_ENABLED=1 $(GO) test -race -short -shuffle=on $(PKG)

# Modules within this one keep what they need out of everybody's go.mod, and out of ./... too.
.PHONY: modules
modules: ## lint and test the modules within this one (MODULES=bench)
	@for dir in $(MODULES); do \
		echo "== $$dir"; \
		(cd $$dir && $(GO) build ./... && $(GO) tool -modfile=$(CURDIR)/internal/tools/go.mod golangci-lint run ./... && \
			$(GO) test -shuffle=on ./...) || exit 1; \
	done

.PHONY: lint
lint: ## layers and other rules of the house, format, linters
	$(GO) test ./internal/archtest
	@out=$$($(TOOL) gofumpt -l .) && test -z "$$out" || { echo "not formatted; run make fmt:"; echo "$$out"; exit 1; }
	$(TOOL) golangci-lint run $(PKG)

.PHONY: fmt
fmt: ## rewrite the files in the house's format
	$(TOOL) golangci-lint fmt

# -fuzz takes one target of one package at a time, hence the loop. Go minimises and keeps a crashing input under
# testdata/fuzz of the package, where `make test` replays it from then on.
.PHONY: fuzz
fuzz: ## every fuzz target in turn (FUZZTIME=60s, FUZZ=pattern of names)
	@find . -name '*_test.go' ! -path '*/testdata/*' -exec grep -l '^func Fuzz' {} + | sort | while read -r file; do \
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file" | grep -E -e '$(FUZZ)' | while read -r target; do \
			echo "== $${file%/*} $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$${file%/*}" </dev/null || exit 1; \
		done || exit 1; \
	done

# The results of the last two runs are kept as bin/bench/old.txt and bin/bench/new.txt.
.PHONY: bench
bench: ## benchmarks, compared with the last run (BENCH=pattern, COUNT=6, PKG=./flow)
	@mkdir -p bin/bench && if test -s bin/bench/new.txt; then mv bin/bench/new.txt bin/bench/old.txt; fi
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG) >bin/bench/run.txt || { cat bin/bench/run.txt; exit 1; }
	@mv bin/bench/run.txt bin/bench/new.txt
	@if test -s bin/bench/old.txt; then $(TOOL) benchstat bin/bench/old.txt bin/bench/new.txt; else $(TOOL) benchstat bin/bench/new.txt; fi

# Fifty seeds of each case take some minutes of two cores. The table is kept as bin/mobility.md.
.PHONY: bench-mobility
bench-mobility: ## what moves and outages cost a session, and which NATs let a direct path through, against bounds (RUNS=50)
	@mkdir -p bin && rm -f bin/mobility.md
	$(GO) test ./internal/mobilitylab -count=1 -timeout 60m -runs $(RUNS) -table $(CURDIR)/bin/mobility.md; \
		code=$$?; cat bin/mobility.md; exit $$code

# A module of its own, so that nobody who uses this one downloads what it is compared with. Everything takes root and most
# of an hour; see bench/README.md.
.PHONY: compare
compare: ## Runnel beside other transports, as a table (COMPARE="--quick", COMPARE=selftest)
	@mkdir -p bin
	cd bench && $(GO) build -o ../bin/compare ./cmd/compare
	bin/compare $(COMPARE)

# Only the packages that have files with the build tag, and only the tests in those files.
.PHONY: e2e
e2e: ## tests over real kernels and foreign servers; they skip themselves without root and network namespaces
	@files=$$(find . -name '*_test.go' ! -path '*/testdata/*' -exec grep -l '^//go:build.*e2e' {} +); \
	test -n "$$files" || { echo "no end-to-end tests"; exit 0; }; \
	tests=$$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' $$files | grep -v '^TestMain$$' | sort -u | paste -s -d '|' -); \
	set -x; \
	$(GO) test -tags e2e -count=1 -p 1 -parallel 4 -v -run "^($$tests)\$$" $$(printf '%s\n' $$files | sed 's|/[^/]*$$||' | sort -u)

.PHONY: demo
demo: ## servers and two peers that find each other and talk (RELAY=1: through the relay)
	$(GO) run ./internal/demo $(if $(RELAY),--relay)

.PHONY: demo-mobility
demo-mobility: ## a peer changes networks while it talks and sends a file (Linux, root); says so where that is impossible
	$(GO) run -tags e2e ./internal/demo --mobility

.PHONY: next
next: ## build and test a copy of the tree with the newest pion libraries
	$(GO) run ./internal/next $(PKG)

.PHONY: cross
cross: ## compile and vet for every supported platform, without cgo
	@for platform in $(PLATFORMS); do \
		echo "== $$platform"; \
		export CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/}; \
		$(GO) build ./... && $(GO) vet ./... || exit 1; \
	done

.PHONY: tidy
tidy: ## go.mod and go.sum of the module, of the tools and of the modules within
	$(GO) mod tidy
	cd internal/tools && $(GO) mod tidy
	@for dir in $(MODULES); do (cd $$dir && $(GO) mod tidy) || exit 1; done

.PHONY: cover
cover: ## coverage per function, and as HTML in bin/cover.html (PKG=./flow/...)
	@mkdir -p bin
	$(GO) test -coverprofile=bin/cover.out $(PKG)
	$(GO) tool cover -html=bin/cover.out -o bin/cover.html
	$(GO) tool cover -func=bin/cover.out

.PHONY: clean
clean: ## remove what was built and measured
	rm -rf bin
