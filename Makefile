# Everything a person or CI does here. `make demo` and `make test` need Go and nothing else.
GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
LINT    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: build demo test e2e lint fuzz bench pictures clean

build: ## bin/loadtest
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

demo: build ## the main job against the embedded platform, under a minute; ends in a report
	bin/loadtest run configs/examples/demo.yaml --output-dir loadtest-results

test: ## every test a clean machine can run
	$(GO) test -race ./...

e2e: build ## against real parts; installs what is missing (Debian, root) and fails if it cannot
	test/e2e/install.sh
	$(GO) test -tags e2e -count=1 -timeout 60m ./test/e2e/...

lint: ## gofmt, vet and the linters of .golangci.yml
	@out=$$(gofmt -l .); test -z "$$out" || { echo "not gofmt-ed:"; echo "$$out"; exit 1; }
	$(GO) mod tidy -diff
	$(GO) run $(LINT) run --build-tags e2e ./...

FUZZTIME ?= 30s
fuzz: ## every fuzz target in turn
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; done; done

bench: ## the benchmarks quoted in docs/benchmarks.md
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./bench/platform
	$(GO) run ./bench/users
	$(GO) run ./bench/compare

pictures: ## the pictures in the documents (chromium, pngquant, prometheus)
	docs/images/draw.sh

clean:
	rm -rf bin loadtest-results
