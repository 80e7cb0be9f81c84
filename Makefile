# Two commands matter: `make demo` shows it, `make test` proves it. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
READY := .venv/.ready
SCAN := .venv-scan/.ready

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## A real cluster, the manifests, the service, a guided tour; stays until Ctrl-C
	@$(BIN)/python -m devtools.demo

.PHONY: demo-check
demo-check: $(READY) ## The same tour, then leave with a status
	@$(BIN)/python -m devtools.demo --check

.PHONY: test
test: lock-check lint unit examples tools manifests-check integration ## Everything that must hold, from a clean clone

.PHONY: env
env: $(READY) ## The Python environment, from the lock file

$(READY): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install python3 and python3-venv." >&2; exit 1; }
	@echo "Python environment from requirements-dev.lock (about a minute, once)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

COMPILE = $(BIN)/uv pip compile --universal --generate-hashes --no-header --quiet
LOCKS = requirements.lock requirements-dev.lock requirements-build.lock requirements-scan.lock
WHAT_requirements.lock = pyproject.toml
WHAT_requirements-dev.lock = pyproject.toml --group dev
WHAT_requirements-build.lock = --group pyproject.toml:build
WHAT_requirements-scan.lock = --group pyproject.toml:scan --python-version 3.11

.PHONY: lock
lock: $(READY) ## Compile the lock files anew (make lock UPGRADE=--upgrade for newer versions)
	@$(foreach lock,$(LOCKS),$(COMPILE) $(UPGRADE) $(WHAT_$(lock)) --output-file $(lock);)

.PHONY: lock-check
lock-check: $(READY) ## The lock files are what pyproject.toml asks for
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; cp requirements*.lock "$$tmp"; \
	$(foreach lock,$(LOCKS),$(COMPILE) $(WHAT_$(lock)) --output-file "$$tmp/$(lock)";) \
	for lock in $(LOCKS); do \
		diff -u $$lock "$$tmp/$$lock" || { echo "$$lock is out of date: make lock" >&2; exit 1; }; done

.PHONY: lint
lint: $(READY) ## ruff, mypy strict, import layers, YAML, Dockerfile, workflows
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/yamllint --strict crds manifests examples .github
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/zizmor --quiet --offline .github/workflows
	@"$$($(BIN)/python -m devtools.toolchain ensure actionlint --print-dir)/actionlint"

.PHONY: format
format: $(READY) ## Format the code and mend what ruff can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: unit
unit: $(READY) ## Unit tests: no cluster
	@$(BIN)/pytest tests/unit -m unit

.PHONY: examples
examples: $(READY) ## The example policies pass the policy commands that they are examples for
	@for folder in policies demo; do $(BIN)/k8s-mcp-server policy check "examples/$$folder"; done
	@$(BIN)/k8s-mcp-server policy test examples/policies

.PHONY: tools
tools: $(READY) ## Build the cluster and the CLIs from their Go modules (about 10 minutes on two cores, once a machine)
	@$(BIN)/python -m devtools.toolchain ensure

.PHONY: manifests-check
manifests-check: tools $(SCAN) ## Every kustomization builds, fits Kubernetes' schemas, and is clean for the scanner
	@$(BIN)/python -m devtools.manifests

$(SCAN): requirements-scan.lock
	@echo "scanner's environment from requirements-scan.lock (half a minute, once)"
	@$(PYTHON) -m venv --clear .venv-scan
	@.venv-scan/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-scan.lock
	@touch $@

# Each half has a cluster of its own and mostly waits, so both at once take little longer than one. An existing cluster bears one.
HALVES := integration-through-mcp integration-below
AT_ONCE = $(if $(filter-out false 0 no,$(K8S_MCP_TEST_USE_EXISTING_CLUSTER)),1,2)

.PHONY: integration $(HALVES)
integration: tools ## Integration tests: a real API server on KWOK, two halves at once
	@echo "Integration tests: two halves at once, each is shown when it has ended (some minutes)"
	@$(MAKE) -j$(AT_ONCE) --output-sync=target --keep-going $(HALVES)

integration-through-mcp: $(READY)
	@$(BIN)/pytest tests/integration/through_mcp -m integration

integration-below: $(READY)
	@$(BIN)/pytest tests/integration --ignore=tests/integration/through_mcp -m integration

OLDEST := gateway test_requestinfo_audit.py test_crd.py test_controller.py test_policy_authors.py \
	test_filtered_equivalence.py test_token_review.py

.PHONY: oldest
oldest: $(READY) ## Gateway, policies and controller on the oldest Kubernetes release that is supported
	@K8S_MCP_TEST_KUBERNETES=oldest $(BIN)/pytest $(addprefix tests/integration/,$(OLDEST)) -m integration

.PHONY: sentences
sentences: $(READY) ## Write docs/policy-tests.md: which test shows which sentence of docs/policy.md
	@$(BIN)/python -m devtools.sentences

HOSTILE := $(addprefix tests/integration/through_mcp/test_,hostile_commands.py hostile_further.py helm.py)

.PHONY: e2e
e2e: $(READY) ## A real node with the image, real control planes of the CLIs (about 20 minutes; as root)
	@$(BIN)/python -m devtools.node check
	@$(BIN)/python -m devtools.toolchain ensure --e2e
	@$(BIN)/pytest tests/e2e $(HOSTILE) -m "e2e or integration"

.PHONY: soak
soak: $(READY) ## What takes a quarter of an hour on the real node: the kubelet renews tokens under load (as root)
	@$(BIN)/python -m devtools.node check
	@$(BIN)/python -m devtools.toolchain ensure --e2e
	@$(BIN)/pytest tests/e2e/node -m soak

.PHONY: image
image: $(READY) ## The image, without a container engine: dist/image.tar and the sizes of its parts (as root)
	@$(BIN)/python -m devtools.node check
	@$(BIN)/python -m devtools.image

TABLES := helm/test_table.py istio/test_subcommands.py argocd/test_table.py

.PHONY: tables
tables: $(READY) ## Write the tables of docs/{kubectl,helm,istioctl,argocd}.md: run every subcommand, see what it needs
	@$(BIN)/python -m devtools.toolchain ensure --e2e
	@$(BIN)/python -m devtools.vocabulary
	@K8S_MCP_TEST_WRITE_DOCS=true $(BIN)/pytest $(addprefix tests/e2e/,$(TABLES)) -m e2e

.PHONY: fuzz
fuzz: $(READY) ## Random bytes against the gateway's readers, for minutes (EXAMPLES=n; SEED=n repeats a run)
	@echo "SEED=$(SEED)"
	@K8S_MCP_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/pytest tests/unit/gateway/test_fuzz.py --hypothesis-seed=$(SEED)

fuzz: EXAMPLES ?= 20000
fuzz: SEED := $(or $(SEED),$(shell date +%s))

.PHONY: mutation
mutation: $(READY) ## Change each rule of RequestInfo: the table and the recorded corpus notice every change
	@$(BIN)/python -m devtools.mutation

.PHONY: bench
bench: tools ## What the service costs beside the bare CLI: a table, and JSON in bench/results
	@$(BIN)/python -m bench

.PHONY: clean
clean: ## Remove what the targets made here (the tools' cache stays)
	@rm -rf .venv .venv-scan .demo dist bench/results .mypy_cache .ruff_cache .pytest_cache .hypothesis
