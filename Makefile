# Every task of this repository; CI runs these and nothing else. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
# Whatever the shell says: the tests start hundreds of processes, and each would compile anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST := $(BIN)/pytest

# How many tests run at once.
JOBS ?= $(shell nproc)
# The order of the tests, the same each time: a gate that fails by chance says nothing of a change.
SEED ?= 1
ALL := -n $(JOBS) --dist loadscope --no-loadscope-reorder --randomly-seed=$(SEED)
# Seconds that a test may take, which is ten times what any does: one that hangs says where it is
# and fails, and the others go on.
LIMIT := --timeout=300 --timeout-method=thread -o faulthandler_timeout=290

# What the tests need beyond Python, and the Debian package that brings it.
NODE := $(and $(shell command -v node),$(shell command -v npm))

.PHONY: help
help: ## List the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: Python 3.11 or newer is needed (Debian: apt-get install python3 python3-venv)." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: say which to use with make PYTHON=…" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing (Debian: apt-get install python3-venv)." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)

# uv does in seconds what takes pip minutes, and is told what pip knows of indexes. Where it
# cannot, pip does it.
$(BIN)/uv: constraints.txt | $(BIN)/python
	@$(PIP) install -c constraints.txt uv
	@touch $@

, := ,

# $(call installed,PYTHON,WHAT): install into the environment of PYTHON.
define installed
	@echo "installing into $(@D) …"
	@set -- $$($(PIP) config get global.index-url 2>/dev/null || true); \
	export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$${1:-https://pypi.org/simple}}}"; \
	export UV_INDEX="$${UV_INDEX:-$${PIP_EXTRA_INDEX_URL:-}}" UV_FIND_LINKS="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-}}"; \
	$(BIN)/uv pip install --quiet --python $(1) $(2) \
	  || { echo "uv could not; asking pip …" >&2; $(PIP) --python $(1) install --no-compile $(2); }
endef

# Stamps: nothing is installed again before one of these files changes.
$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/uv
	$(call installed,$(BIN)/python,-c constraints.txt -e '.[envoy]')
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/uv
	$(call installed,$(BIN)/python,-c constraints.txt -e '.[envoy$(,)dev]')
	@touch $(VENV)/.run $@

$(VENV)/.fuzz: $(VENV)/.dev
	$(call installed,$(BIN)/python,-c constraints.txt -e '.[fuzz]')
	@touch $@

# Frameworks that are run as clients want other versions than ours, and than each other.
FRAMEWORKS := $(VENV)/clients/openai2/.done $(VENV)/clients/openai3/.done

$(FRAMEWORKS): $(VENV)/clients/%/.done: tests/clients/requirements/%.txt | $(BIN)/uv
	@$(BIN)/python -m venv --clear --without-pip $(@D)
	$(call installed,$(@D)/bin/python,--no-deps -r $<)
	@touch $@

# What makes a release brings much of its own, which nothing else needs.
RELEASE := $(VENV)/release/.done

$(RELEASE): release/requirements.txt | $(BIN)/uv
	@$(BIN)/python -m venv --clear $(@D)
	$(call installed,$(@D)/bin/python,--no-deps -r $<)
	@touch $@

# The npm SDKs, where there is a Node.js to run them.
PACKAGES := $(and $(NODE),tests/node/node_modules/.stamp)

$(PACKAGES): tests/node/package.json | $(VENV)/.dev
	@echo "installing into $(dir $@) …"
	@$(BIN)/python -m tests.node.driver
	@touch $@

.PHONY: install
install: $(VENV)/.dev $(FRAMEWORKS) $(RELEASE) $(PACKAGES) ## Make .venv with everything for development

.PHONY: run
run: $(VENV)/.run ## Run the gateway (make run ARGS="--config gateway.yaml")
	@exec $(BIN)/extproc run $(ARGS)

.PHONY: test
test: $(VENV)/.dev $(FRAMEWORKS) $(RELEASE) $(PACKAGES) ## Run every test
ifeq ($(NODE),)
	@echo "deselected: the tests of the npm SDKs (marker node); Debian packages: nodejs npm"
	@$(PYTEST) -q $(ALL) $(LIMIT) -m "not node" $(ARGS)
else
	@$(PYTEST) -q $(ALL) $(LIMIT) $(ARGS)
endif

.PHONY: test-budgets
test-budgets: $(VENV)/.dev ## Prove that money and limits hold; ends with a summary line
	@code=0; rm -f $(VENV)/.budgets; \
	EXTPROC_MONEY=full EXTPROC_MONEY_SUMMARY=$(VENV)/.budgets $(PYTEST) -q -p no:randomly \
	  tests/test_pricing.py tests/policy tests/state tests/exchange/test_account.py \
	  tests/server/test_till.py tests/budgets $(ARGS) || code=$$?; \
	cat $(VENV)/.budgets; exit $$code

.PHONY: agreement
agreement: $(VENV)/.dev ## Hold everybody's account of 2,000 mixed requests against each other; ends with a summary line
	@code=0; rm -f $(VENV)/.agreement; \
	EXTPROC_AGREEMENT=2000 EXTPROC_AGREEMENT_SUMMARY=$(VENV)/.agreement \
	  $(PYTEST) -q -p no:randomly tests/agreement $(ARGS) || code=$$?; \
	cat $(VENV)/.agreement; exit $$code

.PHONY: test-unit
test-unit: $(VENV)/.dev $(RELEASE) ## Run the tests that need no Envoy
	@$(PYTEST) -q $(ALL) $(LIMIT) -m "not envoy and not node" $(ARGS)

.PHONY: explore
explore: $(VENV)/.dev ## Run the tests without Envoy in a new order, with 10,000 new examples each
	@HYPOTHESIS_PROFILE=deep $(PYTEST) -q $(ALL) --randomly-seed=$$RANDOM -m "not envoy and not node" $(ARGS)

.PHONY: check
check: check-style check-types check-imports ## Format, lint, types, import contracts

.PHONY: check-style
check-style: $(VENV)/.dev
	@$(BIN)/ruff format --check --quiet . || { echo "run: make fix" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .

.PHONY: check-types
check-types: $(VENV)/.dev
	@$(BIN)/mypy

.PHONY: check-imports
check-imports: $(VENV)/.dev
	@$(BIN)/lint-imports

.PHONY: fix
fix: $(VENV)/.dev ## Format, and mend what ruff can
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

.PHONY: bench
bench: $(VENV)/.dev ## Measure against bare Envoy; results in bench/results
	@$(BIN)/python bench/gateway.py $(ARGS)

.PHONY: soak
soak: $(VENV)/.dev ## Ordinary traffic for 20 minutes (SECONDS=…); 1 if memory grows
	@$(BIN)/python bench/soak.py --seconds $(or $(SECONDS),1200)

.PHONY: chaos
chaos: $(VENV)/.dev ## Break providers, crowd in, take things away; 1 if it shows (CHAOS=short: a minute)
	@$(BIN)/python -m tests.chaos $(if $(filter short,$(CHAOS)),--short) $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.fuzz ## Give everything that reads a million inputs (RUNS=…, ARGS="sse members"); 1 on a finding
	@$(BIN)/python -m tests.fuzz --runs $(or $(RUNS),1000000) $(ARGS)

.PHONY: dist
dist: $(RELEASE) ## Build sdist and wheel into dist/, twice; 1 if the two differ
	@$(VENV)/release/bin/python release/build.py dist

.PHONY: sbom
sbom: dist ## List what the wheel brings with it, as CycloneDX (dist/extproc.cdx.json)
	@$(BIN)/python -m venv --clear --without-pip $(VENV)/shipped
	@$(BIN)/python -m pip --quiet --disable-pip-version-check --python $(VENV)/shipped/bin/python \
	  install -c constraints.txt dist/*.whl
	@$(VENV)/release/bin/cyclonedx-py environment $(VENV)/shipped/bin/python \
	  --pyproject pyproject.toml --validate --output-reproducible --of JSON \
	  -o dist/extproc.cdx.json
	@echo "$$(grep -c '"purl"' dist/extproc.cdx.json) components in dist/extproc.cdx.json"

.PHONY: audit
audit: $(RELEASE) ## Look for known vulnerabilities in ADVISORIES=all.zip, an export of OSV's
	@test -n "$(ADVISORIES)" || { echo "say where the export is: docs/releasing.md" >&2; exit 2; }
	@$(VENV)/release/bin/python release/advisories.py "$(ADVISORIES)"

.PHONY: golden
golden: $(VENV)/.dev ## Rewrite the golden files; review the diff
	@EXTPROC_GOLDEN=write $(PYTEST) -q -p no:randomly tests/config tests/test_cases.py tests/test_fields.py tests/local/test_conformance.py tests/local/providers/test_catalogue.py tests/telemetry/test_instruments.py

.PHONY: protos
protos: $(VENV)/.dev ## Compile protos/ into extproc/_pb
	@$(BIN)/python -m grpc_tools.protoc \
	  -Iextproc/_pb=protos \
	  -I"$$($(BIN)/python -c 'import importlib.resources as r; print(r.files("grpc_tools") / "_proto")')" \
	  --python_out=. --pyi_out=. protos/*.proto
