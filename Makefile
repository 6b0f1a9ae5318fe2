# The developer's commands. `./run_tests.sh` makes the environment that they use.

VENV ?= $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV),.venv)
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

.PHONY: help quick check static test format constraints benchmarks

help:  ## List the targets
	@grep -E '^[a-z]+: .*## |^[a-z]+:  ## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

quick:  ## Linters, types and the unit tests of what changed
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/quick.py

check:  ## Everything that must pass before a change lands, as CI runs it; BASE=COMMIT may leave the image's tests out
	PARTS="static web python image" ./run_tests.sh

static:  ## ruff, the replaced words, shellcheck, mypy
	ONLY=static ./run_tests.sh

test:  ## The unit tests, the integration tests and those of the network
	ONLY=python ./run_tests.sh

format:  ## Rewrite the Python files the way the linters want them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# One resolution for every supported Python version and platform, CUDA's packages included.
constraints:  ## Renew constraints.txt: the newest versions that pyproject.toml allows
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	sed -n '/^#/p' constraints.txt > constraints.new
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --no-header \
		--no-annotate --no-emit-index-url pyproject.toml >> constraints.new
	mv constraints.new constraints.txt

benchmarks:  ## What can be measured, and the command for each
	@ls benchmarks
