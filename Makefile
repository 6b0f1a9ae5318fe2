# The developer's commands. `./run_tests.sh` makes the environment that they use.

VENV ?= $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV),.venv)
BIN := $(VENV)/bin
UV_VERSION := 0.13.9

.PHONY: help check lint types test format constraints benchmarks

help:  ## List the targets
	@grep -E '^[a-z]+: .*## |^[a-z]+:  ## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

check: lint types test  ## Everything that must pass before a change lands (run_tests.sh does the same from a clean checkout)

lint:  ## ruff and shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/shellcheck -x run_rl_swarm.sh run_tests.sh .ci/run scripts/environment.sh docker/*.sh tests/docker/run

types:  ## mypy
	$(BIN)/mypy

test:  ## The unit tests, then the integration tests
	$(BIN)/python -m pytest tests/unit tests/integration

format:  ## Rewrite the Python files the way `make lint` wants them
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
