#!/usr/bin/env bash
# Every check, from a clean checkout: environment, Node.js packages, then the parts of scripts/checks.py side by side:
# static (linters, types), web (its checks and tests, a browser's among them), python (unit, integration and network tests).
#   ./run_tests.sh                      all three        PARTS="static web python image" ./run_tests.sh: the image's, too
#   ONLY=static ./run_tests.sh          one of them
# Arguments go to pytest, and nothing else runs then; a path among them replaces the default of all tests:
#   ./run_tests.sh -k outbox            ./run_tests.sh -n 2 tests/unit/chain
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set +o posix
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
# shellcheck source=scripts/environment.sh
. "$ROOT/scripts/environment.sh"
INSTALL_LOG="$ROOT/logs/install.log"

require_chromium() {
    local name
    for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null 2>&1; then return 0; fi
    done
    fail "the web app's tests drive a browser, and no Chromium was found. Install it" \
        "($(distribution_command chromium chromium chromium)), name one with CHROMIUM=/path/to/chromium, or leave these" \
        "tests out: ONLY=python ./run_tests.sh"
}

cd "$ROOT"
prepare_environment dev,tensorboard,trackio,wandb
export VIRTUAL_ENV="$VENV" PATH="$VENV/bin:$PATH"

if [ $# -gt 0 ]; then exec python -m pytest --durations=10 "$@"; fi

read -r -a parts <<<"${ONLY:-${PARTS:-static web python}}"
case " ${parts[*]} " in *" web "*) require_chromium ;; esac
case " ${parts[*]} " in *" web "* | *" python "*) prepare_node ;; esac
# Nothing may follow: the closing line of pytest is what a reader, or a CI, looks for.
exec python scripts/checks.py "${parts[@]}"
