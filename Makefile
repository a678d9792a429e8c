# netpilot: everything a person or CI runs. Go and make are all it needs.

GO      ?= go
BIN     := bin
# Where the signing keys lie, and where people will find the feed.
KEYS     ?= keys
FEED_URL ?=
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
# X.Y.Z from the newest tag vX.Y.Z; before the first tag, 0.0.0 and the commit.
VERSION ?= $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null | sed 's/^v//' | grep . || echo 0.0.0-g$$(git rev-parse --short HEAD 2>/dev/null || echo unknown))

export CGO_ENABLED ?= 0
export SOURCE_DATE_EPOCH

LDFLAGS      := -s -w -X main.version=$(VERSION)
AGENT_LDFLAGS := $(LDFLAGS) -X main.built=$(SOURCE_DATE_EPOCH)
# What keeps the agent small is said in docs/decisions/0003-agent-size.md.
AGENT_TAGS   := urfave_cli_no_docs,urfave_cli_no_suggest,netgo,osusergo
# Inlining stays where it can be measured: in the decoder.
AGENT_HOT    := pkg/nlbwmon
AGENT_GC     := all=-l $(AGENT_HOT:%=github.com/netpilot/netpilot/%=)
BUILD_FLAGS  := -trimpath -buildvcs=false
# The underscore keeps the go command from taking it for a package of ours.
OVERLAY      := $(BIN)/_overlay/overlay.json
# The overlay's runtime and the linker that toolexec starts belong together.
TOOLEXEC     := $(abspath $(BIN)/_overlay/toolexec)
AGENT_FLAGS  := $(BUILD_FLAGS) -overlay=$(OVERLAY) -toolexec=$(TOOLEXEC) -tags=$(AGENT_TAGS) $(AGENT_GC:%=-gcflags=%) -ldflags="$(AGENT_LDFLAGS)"
CROSS        := $(GO) run ./scripts/cross --overlay '$(OVERLAY)' --toolexec '$(TOOLEXEC)' --tags '$(AGENT_TAGS)' $(AGENT_GC:%=--gcflags '%') --ldflags '$(AGENT_LDFLAGS)'

.PHONY: help build test soak resident check demo cross size size-check bench fuzz agent overlay relay clean lines packages keys vendors man
.DEFAULT_GOAL := help

help: ## say what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

build: agent relay ## both binaries into bin/

agent: overlay
	$(GO) build $(AGENT_FLAGS) -o $(BIN)/netpilot-agent ./agent

# The file holds paths of this Go installation.
overlay:
	@$(GO) run ./scripts/overlay $(dir $(OVERLAY))

relay:
	$(GO) build $(BUILD_FLAGS) -ldflags="$(LDFLAGS)" -o $(BIN)/netpilot-relay ./relay

test: ## every test; with the race detector where there is a C compiler
	@if command -v "$${CC:-cc}" >/dev/null 2>&1 && [ "$$($(GO) env GOARCH)" = amd64 -o "$$($(GO) env GOARCH)" = arm64 ]; then \
		echo "race detector: on"; CGO_ENABLED=1 $(GO) test -race $(TESTFLAGS) ./...; \
	else \
		echo "race detector: off, it needs a C compiler on amd64 or arm64"; $(GO) test $(TESTFLAGS) ./...; \
	fi

# A failure prints the shortest history found and the seed that finds it again.
soak: ## a million random histories of a simulated nlbwmon, some minutes; HISTORIES=n for another number
	$(GO) test ./agent/ledger -count=1 -v -run '^TestHistories$$' -ledger.histories $(or $(HISTORIES),1000000) -timeout 2h

resident: build ## the daemon's memory over ten simulated days with a full history; ARGS=--days=2 for fewer, ARGS='--calls 1000 --idle 5m' the shipped agent's by the clock
	$(GO) build $(AGENT_FLAGS) -o $(BIN)/resident-daemon ./scripts/resident/daemon
	@$(GO) run ./scripts/resident --bin $(BIN) $(ARGS)

check: ## formatting, vet, staticcheck, module files, dependency list, sizes, known vulnerabilities
	scripts/check.sh

demo: build ## a relay, an agent and a recorded nlbwmon on loopback; ARGS=--once ends by itself
	@$(GO) run ./scripts/demo --bin $(BIN) $(ARGS)

cross: overlay ## the agent for every router Go can serve, into dist/
	@$(CROSS) --out dist

lines: overlay ## what scripts/lines needs to find the places of an agent's trace, into dist/; ONLY=mipsle for one
	@$(CROSS) --out dist --only '$(ONLY)' --lines

packages: cross ## both feeds for routers, into dist/feed; FEED_URL=https://... is where they will be
	@$(GO) run ./scripts/packages --version '$(VERSION)' --epoch '$(SOURCE_DATE_EPOCH)' --keys '$(KEYS)' --url '$(FEED_URL)'

keys: ## make signing keys for the feeds, into keys/
	@$(GO) run ./scripts/packages --make-keys --keys '$(KEYS)'

vendors: ## write netpilot-oui's table anew from Debian's package ieee-data
	$(GO) run ./scripts/oui --out openwrt-package/netpilot-oui/files/oui

man: agent ## write the manual page dist/netpilot-agent.8
	@mkdir -p dist && $(GO) run ./scripts/man --agent $(BIN)/netpilot-agent --version '$(VERSION)' --epoch '$(SOURCE_DATE_EPOCH)' && echo dist/netpilot-agent.8

size: overlay ## write docs/size.md and docs/agent-deps.txt
	@$(CROSS) --out dist --report docs/size.md --deps docs/agent-deps.txt

size-check: overlay
	@$(CROSS) --out '$(TMP)' --only mipsle --report docs/size.md --deps docs/agent-deps.txt --check

bench: ## the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-relay
bench-relay: relay ## the relay against the floor of two bare hops and against SSH; ARGS='--only calls' for a part
	@$(GO) build -o $(BIN)/fleet ./scripts/fleet && $(GO) build -o $(BIN)/floor ./scripts/bench/floor
	@$(GO) run ./scripts/bench --bin $(BIN) $(ARGS)

.PHONY: kill
kill: relay ## kill the relay 100 times under load and look for what it acknowledged; ARGS='--kills 10' for fewer
	@$(GO) run ./scripts/killtest --bin $(BIN)/netpilot-relay $(ARGS)

.PHONY: image
image: ## follow the relay's Dockerfile without Docker, as root, and try the program in its root directory
	$(GO) test ./scripts/relay -count=1 -image

.PHONY: acme
acme: relay ## a certificate for the relay by ACME, from a CA on loopback that comes from the Go module proxy
	@$(GO) run ./scripts/acme --bin $(BIN)/netpilot-relay

.PHONY: vm
vm: ## the tests that ask the kernel on Debian's kernel in a virtual machine, with simulated radios and flowtables
	scripts/vm.sh

fuzz: ## each fuzz target for FUZZTIME (10s)
	scripts/fuzz.sh $(FUZZTIME)

clean: ## remove what was built
	rm -rf $(BIN) dist
