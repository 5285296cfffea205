# Two commands are enough: `make run` and `make test`.
GO ?= go
LINT = $(GO) tool -modfile=tools/go.mod golangci-lint

.PHONY: build run test install check lint unit e2e demo bench bench-stores bench-cluster fuzz proto crash history sbom vuln

build: ## bin/polestar
	CGO_ENABLED=0 $(GO) build -o bin/polestar ./cmd/polestar

run: build ## the server on the embedded store in ./data
	bin/polestar server --log-format console

test: install lint sbom unit e2e ## everything; installs what it needs

install: ## compiler for the race detector, JDK, Maven, Node, Envoy, gRPC clients
	e2e/install.sh

check: lint unit ## what a change needs before it is committed

lint:
	$(GO) vet ./...
	$(LINT) run

unit:
	$(GO) test -race -timeout 10m ./...

e2e: install ## real Envoy, SDKs and gRPC clients
	cd e2e && $(GO) vet ./... && $(GO) test -race -count=1 -timeout 25m ./...

demo: install build ## traffic that follows registrations, in half a minute
	cd e2e && $(GO) run ./demo

crash: ## 100 kills under load
	cd e2e && POLESTAR_E2E_CRASH_ROUNDS=100 $(GO) test -count=1 -timeout 25m -run TestKillNineLosesNothing -v .

history: ## 100 rounds of faults at a cluster, every answer judged
	cd e2e && POLESTAR_E2E_HISTORY_ROUNDS=100 $(GO) test -count=1 -timeout 25m -run 'TestHistory$$' -v .

bench: build ## figures of this machine; starts its own server
	tools/bench.sh

bench-stores: ## the embedded store beside MariaDB on this machine; under four minutes
	cd e2e && $(GO) run ./stores

bench-cluster: ## from one server of a cluster to another, with hints and without
	cd e2e && $(GO) test -run '^$$' -bench BenchmarkSpread -benchtime 5x -timeout 15m .

FUZZTIME ?= 20s
fuzz: ## each fuzz target for FUZZTIME
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; done

sbom: build ## bin/polestar.cdx.json: what is in the binary (CycloneDX), checked against go.sum
	$(GO) mod verify
	$(GO) tool -modfile=tools/go.mod cyclonedx-gomod bin -json -std -noserial -output bin/polestar.cdx.json bin/polestar
	@grep -q google.golang.org/grpc bin/polestar.cdx.json

vuln: ## known vulnerabilities in what is called; asks the Go vulnerability database
	$(GO) tool -modfile=tools/go.mod govulncheck ./...

proto: ## regenerate proto/
	cd proto && $(GO) tool -modfile=../tools/go.mod buf lint && $(GO) tool -modfile=../tools/go.mod buf generate
