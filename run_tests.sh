#!/usr/bin/env bash
# Every check, from a clean checkout: environment, Node.js packages, linters, types, the web app's tests (the browser's
# among them, which need Chromium), unit tests, integration tests.
# Arguments go to pytest; a path among them replaces the default of all tests:
#   ./run_tests.sh -k outbox        ./run_tests.sh tests/unit/chain
# ONLY=tests (or lint, types, web) leaves the other checks out.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/environment.sh
. "$ROOT/scripts/environment.sh"
INSTALL_LOG="$ROOT/logs/install.log"
SHELL_SCRIPTS=(run_rl_swarm.sh run_tests.sh .ci/run scripts/environment.sh docker/*.sh tests/docker/run)

# check NAME COMMAND...: one line with the time when it passes, its output when it doesn't.
check() {
    local name="$1" began=$SECONDS output status=0
    shift
    output="$("$@" 2>&1)" || status=$?
    if [ "$status" -ne 0 ]; then
        printf '%s\n' "$output"
        fail "'$name' failed after $((SECONDS - began)) s: $*"
    fi
    printf '  %-52s %4d s\n' "$name" "$((SECONDS - began))"
}

names_a_path() {
    local argument
    for argument in "$@"; do
        [ ! -e "${argument%%::*}" ] || return 0
    done
    return 1
}

wanted() { [ -z "${ONLY:-}" ] || [ "$ONLY" = "$1" ]; }

# npm writes what it installed into node_modules/.package-lock.json; an older one belongs to an older lock file.
prepare_packages() {
    [ "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ] ||
        check "npm ci in $1/" npm --prefix "$1" ci --no-audit --no-fund
}

# The local chain's program, and the login server as it is delivered: tests of both languages run them.
prepare_servers() {
    prepare_node
    prepare_packages contracts
    prepare_packages modal-login
    check "npm run build in modal-login/" env NEXT_TELEMETRY_DISABLED=1 npm --prefix modal-login run build
}

require_chromium() {
    local name
    for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null 2>&1; then return 0; fi
    done
    fail "the web app's tests drive a browser, and no Chromium was found. Install it" \
        "($(distribution_command chromium chromium chromium)), name one with CHROMIUM=/path/to/chromium, or leave these" \
        "tests out: ONLY=tests ./run_tests.sh"
}

cd "$ROOT"
prepare_environment dev,tensorboard,trackio,wandb
export VIRTUAL_ENV="$VENV" PATH="$VENV/bin:$PATH"

if wanted lint; then
    check "ruff check" ruff check .
    check "ruff format --check" ruff format --check .
    ! command -v shellcheck >/dev/null 2>&1 || check "shellcheck" shellcheck -x "${SHELL_SCRIPTS[@]}"
fi
if wanted types; then check "mypy" mypy; fi
if wanted web; then
    require_chromium
    prepare_servers
    check "biome and tsc in modal-login/" npm --prefix modal-login run check
    check "vitest in modal-login/" npm --prefix modal-login test
fi
if wanted tests; then
    [ -z "${ONLY:-}" ] || prepare_servers
    # Unit tests first: what they find, the integration tests would show later and less clearly.
    if ! names_a_path "$@"; then
        [ ! -d tests/integration ] || set -- tests/integration "$@"
        set -- tests/unit "$@"
    fi
    # Nothing may follow: the closing line of pytest is what a reader, or a CI, looks for.
    exec python -m pytest "$@"
fi
