# Two commands do all the set-up on a fresh machine with Go, Node, git and apt:
#   make run    builds and starts `sestina dev`
#   make test   runs every test, cheap ones first

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  = -s -w -X main.version=$(VERSION)
TOOL     = $(GO) tool -modfile=tools/go.mod
ARGS    ?=

.PHONY: build run test lint generate bench fuzz clients setup clean

build: ## One static binary: bin/sestina.
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/sestina ./cmd/sestina

run: build ## Builds and starts `sestina dev`; further flags in ARGS.
	./bin/sestina dev $(ARGS)

# The tests, cheap things first. Each step says what it is for; a step that
# needs something this machine may not install says so in one line.
test: lint
	tests/run

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt would change:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	tests/lint-clock
	tests/generated

generate: ## Regenerates the AWS API types from the models, where those are at hand.
	$(GO) generate ./internal/awsapi/...

bench: ## Figures beside a peer or a physical limit; see bench/README.md.
	bench/run

fuzz: ## Every fuzz target for FUZZTIME (default 5s).
	tests/fuzz

clean:
	rm -rf bin
