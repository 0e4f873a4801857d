# Everything here makes its own environment in .venv first; nothing else needs to be installed but Python 3.11+.
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# `make run` keeps to a home of its own, unless HERMES_HOME names one.
HERMES_HOME ?= $(CURDIR)/.hermes-run

.PHONY: run test check format bench kill clean

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PY) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	@touch $@

run: $(STAMP) ## start hermesd with the offline model and chat with it
	@HERMES_HOME="$(HERMES_HOME)" $(BIN)/python -m hermesctl chat --spawn $(ARGS)

test: $(STAMP) ## every test, with what the tests need
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: $(STAMP) ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist build
