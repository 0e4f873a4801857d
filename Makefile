# Every target makes what it needs in .venv first: `run` only what running takes, the others the tests and tools too.
# Nothing else needs to be installed but Python 3.11 or newer; name another one with PY=python3.12.
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
# `make run` keeps to a home of its own, unless HERMES_HOME names one.
HERMES_HOME ?= $(CURDIR)/.hermes-run
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
# How often `make systemd` restarts the service under load.
RESTARTS ?= 20
# How many random kills `make kill` deals out.
N ?= 10000
# Test processes. Half the time of a test is waiting for disks, clocks and ends: four of them keep two cores busy.
WORKERS ?= 4

.PHONY: help run stop test long systemd containers mcp-soak check format bench kill mcp-conformance dist clean

help: ## these lines
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

$(BIN)/python:
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hermesd needs Python 3.11 or newer. Name one: make PY=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PY) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$(PY) cannot make an environment. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo "making an environment in $(VENV) ..." >&2
	@$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "making an environment with the tests' needs in $(VENV) ..." >&2
	@$(PIP) -e '.[test,dev]'
	@touch $(VENV)/.run $@

run: $(VENV)/.run ## start hermesd with the offline model and chat with it
	@[ -t 0 ] || export CI=$${CI:-true}; \
	  HERMES_HOME="$(HERMES_HOME)" exec $(BIN)/hermesctl chat --spawn $(ARGS)

stop: $(VENV)/.run ## stop what `make run` has left running
	@HERMES_HOME="$(HERMES_HOME)" exec $(BIN)/hermesctl stop $(ARGS)

test: $(VENV)/.test ## every test, with what the tests need
	@scripts/test-packages
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

long: $(VENV)/.test ## the long forms of tests, which `make test` leaves out
	@$(BIN)/python -m pytest -n 2 -m 'long and not containers' $(ARGS)

systemd: $(VENV)/.test ## hermesd as a service of a real systemd, in a machine of its own (root); RESTARTS=200 is the long form
	@scripts/test-packages systemd-nspawn=systemd-container debootstrap=debootstrap
	@HERMESD_RESTARTS=$(RESTARTS) $(BIN)/python -m pytest -rs -m systemd tests/deploy tests/nix $(ARGS)

containers: $(VENV)/.test ## hermesd in containers of a real Docker Engine of its own (root), the long forms included
	@scripts/test-packages dockerd=docker.io debootstrap=debootstrap docker-compose=docker-compose sudo=sudo
	@$(BIN)/python -m pytest -m 'long or not long' tests/deploy/test_container_*.py \
	  tests/deploy/test_image_*.py $(ARGS)

mcp-soak: $(VENV)/.test ## MCP servers killed, flooded and lost by the thousand, to the figures of the acceptance table
	@scripts/test-packages
	@HERMESD_SOAK=1 $(BIN)/python -m pytest tests/integration/test_mcp_*.py $(ARGS)

check: $(VENV)/.test ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(VENV)/.test ## put the code in its form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(VENV)/.test ## figures beside other programs, as ratios of one run
	@$(BIN)/python -m bench $(ARGS)

kill: $(VENV)/.test ## kill a loaded daemon N times (10000) and count what is lost
	@$(BIN)/python -m tests.faults.harness --kills $(N) $(ARGS)

mcp-conformance: $(VENV)/.test ## the MCP conformance suite against hermesd; writes docs/mcp-conformance.md
	@$(BIN)/python -m tests.conformance $(ARGS)

dist: $(VENV)/.test ## wheel and source archive, in dist/
	@$(BIN)/python -m pip wheel -qq --disable-pip-version-check --no-deps --wheel-dir dist .

clean: ## remove what the targets above have made, but no home
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
