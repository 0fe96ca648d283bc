# Every target passes ARGS on: make run ARGS="--data elsewhere".
# Go is all that is needed, but for the targets of the stack, which need Docker;
# tools/ has what the longer targets do.

ARGS =
# make test: packages, such as ./internal/audit ./telemetry/...; default all.
PKGS ?=
BENCH = .
FUZZTIME = 10s

VIGIE = bin/vigie

# make crash: rounds on each broker, the seed (a number, or random), embedded,
# kafka or both, the first round, only one fault, how long a broker is away.
# make crash-cluster takes the same but for the broker.
N = 10
SEED = random
BROKER = both
FIRST = 1
FAULT =
AWAY = 30s
# sqlite, or postgres, on which several instances of each service can run.
DATABASE = sqlite
INSTANCES =

# make load: a name from test/load, or a file.
SCENARIO = smoke

# make start, monitoring-up, test-stack: optional parts (tracing zipkin logging demo);
# how often test-stack starts the stack.
PROFILES ?=
COUNT = 3

export PROFILES

.DEFAULT_GOAL := help
.PHONY: help run demo build test test-quick test-integration test-browser pictures load crash crash-cluster faults lint fmt bench fuzz docs slo mutants \
	broker topics clean \
	start monitoring-up monitoring-down doctor start-all test-stack grafana monitoring-native \
	test-helm test-kubernetes manifests pin vuln licences sbom reproducible

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' Makefile

run: build ## build and start everything in one process (vigie up)
	@exec $(VIGIE) up $(ARGS)

demo: build ## the same with invented orders all the time (vigie up --demo)
	@exec $(VIGIE) up --demo $(ARGS)

# The system is pure Go: without cgo it builds the same with or without a C
# compiler.
build: ## build bin/vigie
	@[ -x $(VIGIE) ] || echo "building $(VIGIE); the first time takes a minute or two"
	@CGO_ENABLED=0 go build -o $(VIGIE) ./cmd/vigie

test: ## run the tests, with the race detector where a C compiler is there
	@PKGS='$(PKGS)' sh tools/test.sh $(ARGS)

test-quick: ## run the quick tests and one whole system, without the race detector
	@PKGS='$(PKGS)' sh tools/test.sh -short $(ARGS)

# One package after the other: they start many processes each. The first brings
# Kafka's jars into the user's cache, the last builds Prometheus and its like
# into it.
test-integration: ## run the system as processes, also on real Kafka, a short crash matrix, and the monitoring live
	@CGO_ENABLED=0 go test -tags integration -count=1 -p 1 -timeout 20m \
		./internal/testenv/kafka ./internal/testenv/postgres ./internal/kafka ./internal/embedded/broker ./internal/storage ./internal/groups \
		./internal/audit ./internal/delivery ./internal/journeys ./services/... ./test/model ./test/system $(ARGS)
	@CGO_ENABLED=0 REBALANCES=100 go -C telemetry/otelkafka/brokertest test -tags integration -count=1 -timeout 20m -run "Thousand|Conformance" ./... $(ARGS)
	@CGO_ENABLED=0 go test -tags integration -count=1 -v -timeout 20m -run TestCrashMatrix ./internal/testenv/crash $(ARGS)
	@CGO_ENABLED=0 CRASH_DATABASE=postgres CRASH_BROKER=kafka \
		go test -tags integration -count=1 -v -timeout 20m -run TestCrashMatrix ./internal/testenv/crash $(ARGS)
	@CGO_ENABLED=0 go test -tags integration -count=1 -p 1 -timeout 60m ./monitoring ./test/live $(ARGS)

test-browser: ## drive the page with a real Chromium, where there is one
	@chromium=$$(sh tools/chromium.sh) && axe=$$(sh tools/axe.sh) && CGO_ENABLED=0 VIGIE_CHROMIUM="$$chromium" VIGIE_AXE="$$axe" \
		go test -tags browser -count=1 -v -timeout 20m ./test/browser $(ARGS)

pictures: ## take the pictures of docs/images again, with a real Chromium
	@chromium=$$(sh tools/chromium.sh) && CGO_ENABLED=0 VIGIE_CHROMIUM="$$chromium" VIGIE_PICTURES="$(CURDIR)/docs/images" \
		go test -tags browser -count=1 -v -timeout 20m -run TestPictures ./test/browser $(ARGS)

load: build ## send SCENARIO= (smoke, day, black-friday, …) to the running system, and say whether it kept its promises
	@exec $(VIGIE) load --scenario '$(SCENARIO)' $(ARGS)

crash: ## crash the system in N= rounds from SEED= on BROKER=embedded, kafka or both
	@CGO_ENABLED=0 CRASH_N='$(N)' CRASH_SEED='$(SEED)' CRASH_BROKER='$(BROKER)' CRASH_FIRST='$(FIRST)' \
		CRASH_FAULT='$(FAULT)' CRASH_AWAY='$(AWAY)' CRASH_DATABASE='$(DATABASE)' CRASH_INSTANCES='$(INSTANCES)' \
		go test -tags integration -count=1 -v -timeout 0 -run TestCrashMatrix ./internal/testenv/crash $(ARGS)

crash-cluster: ## crash the nodes of a three-node Kafka under load, in N= rounds
	@$(MAKE) --no-print-directory crash BROKER=cluster

# FAULT takes several, with commas between; N= and SEED= choose otherwise. QUICK=1
# looks less long, chooses short rows, and writes nothing: so does CI.
AT_ONCE = 3
QUICK =

faults: ## break the system in every way, see each alert fire, and write docs/faults.md
	@CGO_ENABLED=0 FAULT='$(FAULT)' N='$(if $(filter command line,$(origin N)),$(N))' SEED='$(if $(filter command line,$(origin SEED)),$(SEED))' \
		FAULTS_AT_ONCE='$(AT_ONCE)' FAULTS_QUICK='$(QUICK)' FAULTS_WRITE='$(if $(QUICK),,1)' \
		go test -tags integration -count=1 -v -timeout 0 -parallel 64 -run TestFaults ./test/faults $(ARGS)

lint: ## check format, modules, tree and code (ARGS go to golangci-lint)
	@sh tools/lint.sh $(ARGS)

fmt: ## format the code as lint wants it
	@linter=$$(sh tools/golangci-lint.sh) && "$$linter" fmt $(ARGS)

bench: ## run the benchmarks that match BENCH, in all modules or PKGS
	@for packages in $(or $(PKGS),$$(sh tools/modules.sh | sed -e 's#^\.$$#./...#' -e 's#^[^.].*#./&/...#')); do \
		set -- $$(sh tools/modules.sh "$$packages"); \
		CGO_ENABLED=0 go -C "$$1" test -run '^$$' -bench '$(BENCH)' -benchmem "$$2" $(ARGS) || exit 1; \
	done

fuzz: ## run each fuzz target for FUZZTIME
	@FUZZTIME='$(FUZZTIME)' sh tools/fuzz.sh $(ARGS)

docs: ## write the generated documents again
	@CGO_ENABLED=0 go test ./internal/cli ./test/system -count=1 -run "TestDocs|TestMetricsPages" -update $(ARGS)

# The chart's tests are in a module of their own, which requires what Helm
# requires; the first time compiles it, which takes minutes.
test-helm: ## check the Helm chart, and that the manifests are what it renders
	@CGO_ENABLED=0 go -C tools/helm test -count=1 ./... $(ARGS)

# The first time builds a kube-apiserver and an etcd from their modules, into the
# user's cache: many minutes.
test-kubernetes: ## have a real API server take everything that the chart renders
	@servers=$$(sh tools/kubernetes.sh) && CGO_ENABLED=0 VIGIE_KUBERNETES="$$servers" \
		go -C tools/helm test -tags kubernetes -count=1 -v -timeout 30m -run TestAPIServer . $(ARGS)

manifests: ## write the manifests in deploy/kubernetes again, from the chart
	@CGO_ENABLED=0 go -C tools/helm test -count=1 -run '^TestRenders$$' . -update $(ARGS)

dev-%: build ## run one service alone: dev-commande, dev-paiement, …
	@bash tools/stack.sh run $* $(ARGS)

# Sloth's library is a module of its own, and takes a minute the first time.
slo: ## make monitoring/rules/slo.yml of the objectives in monitoring/slo (ARGS=--check compares)
	@CGO_ENABLED=0 go -C tools/slo run . $(ARGS)

mutants: ## change each alert in every way, one at a time, and see that its tests notice
	@CGO_ENABLED=0 go test -tags integration -count=1 -v -run TestMutantsAreKilled ./monitoring $(ARGS)

broker: build ## run the embedded broker alone
	@exec $(VIGIE) broker $(ARGS)

topics: build ## create the topics, on the stack's Kafka or that of make broker
	@exec $(VIGIE) topics $(ARGS)

start: ## start everything in Docker, wait, and follow the logs (PROFILES="tracing logging")
	@bash tools/stack.sh start

monitoring-up: ## start all but the services in Docker
	@bash tools/stack.sh monitoring

# Asks a database on the network about every module.
vuln: ## look for known vulnerabilities that the code can reach
	@for module in $$(sh tools/modules.sh); do \
		echo "govulncheck in $$module"; \
		vuln=$$(CGO_ENABLED=0 go tool -C tools/supply -n govulncheck) && (cd "$$module" && "$$vuln" $(ARGS) ./...) || exit 1; \
	done

licences: ## list the licences of all dependencies again, in docs/licences.md
	@list=$$(mktemp) && go -C tools/supply run . >"$$list" && cat "$$list" >docs/licences.md; status=$$?; rm -f "$$list"; exit $$status

sbom: ## write what bin/vigie is made of to bin/vigie.cdx.json (CycloneDX)
	@CGO_ENABLED=0 go build -trimpath -o $(VIGIE) ./cmd/vigie
	@sbom=$$(CGO_ENABLED=0 go tool -C tools/supply -n cyclonedx-gomod) && \
		"$$sbom" bin -json -std -output $(VIGIE).cdx.json -version "$$($(VIGIE) version | awk '{ print $$3; exit }')" $(VIGIE)
	@echo "$(VIGIE).cdx.json"

reproducible: ## build the last commit twice, in other folders and caches, and compare
	@sh tools/reproducible.sh

pin: ## write docker-compose.pinned.yml, with every image by its digest
	@bash tools/stack-pin.sh

start-all: build ## run the services on the host against the Kafka of monitoring-up
	@bash tools/stack.sh run up $(ARGS)

monitoring-down: ## stop what runs in Docker; orders and metrics stay
	@bash tools/stack.sh down

doctor: ## say of every part that runs whether it is well, and how to fix what is not
	@bash tools/stack.sh doctor $(ARGS)

grafana: ## run an installed Grafana on the shipped dashboards, against make run
	@sh tools/grafana.sh $(ARGS)

monitoring-native: build ## run a real Prometheus, Alertmanager and node exporter against make run
	@bash tools/monitoring-native.sh

test-stack: build ## start the stack COUNT times, and each optional part, and try everything
	@COUNT='$(COUNT)' bash tools/test-stack.sh

clean: ## remove what was built and, after a yes, the stack's volumes; data/ stays
	@rm -rf bin coverage.*
	@find . -name .git -prune -o \( -name '*.test' -o -name '*.prof' \) -type f -exec rm -f {} +
	@bash tools/stack.sh clean
