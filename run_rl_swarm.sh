#!/usr/bin/env bash
# Start RL Swarm: make the Python environment on the first run, ask what only a person can answer, hand over to `rl-swarm`.
# Whoever types `sh run_rl_swarm.sh` means this, too: bash, and bash's own ways where sh is a bash.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"
set +o posix
set -euo pipefail

# Where a symbolic link to this file leads in the end (macOS's readlink had no -f for long).
launcher="${BASH_SOURCE[0]}"
while [ -L "$launcher" ]; do
    link="$(readlink "$launcher")"
    case "$link" in /*) launcher="$link" ;; *) launcher="$(dirname "$launcher")/$link" ;; esac
done
ROOT="$(cd "$(dirname "$launcher")" && pwd -P)"
# shellcheck source=scripts/environment.sh
. "$ROOT/scripts/environment.sh"

usage() {
    cat <<'USAGE'
Usage: ./run_rl_swarm.sh [OPTION...] [KEY=VALUE...]
       ./run_rl_swarm.sh COMMAND [ARGUMENT...]

Trains a language model together with a swarm. Without options: a swarm of your own on this machine, with nothing to
sign up for. The first run installs everything into .venv; later runs start at once.

  --network NAME   local (default), gensyn-testnet or offline
  --join INVITE    join somebody's swarm: the invite itself, a file with it, or its URL
  --rounds N       stop after N rounds
  --home DIR       the folder that keeps swarm.pem, configs/, logs/ and state (default: $RL_SWARM_HOME or this checkout)
  --yes            ask nothing, take the defaults
  --print-command  show the command that would be run, and stop
  --help           this page
  KEY=VALUE        any setting of configs/rg-swarm.yaml, e.g. training.num_generations=4

Commands: hub, invite, login, status, leaderboard, plot, identity, doctor. `./run_rl_swarm.sh hub --help` says more.

Variables: MODEL_NAME, HUGGINGFACE_ACCESS_TOKEN (set, the trained model is pushed to the Hugging Face Hub), HF_TOKEN (to
fetch gated models), PRG_GAME=true|false, CPU_ONLY=true, IDENTITY_PATH, GENSYN_RESET_CONFIG=1, CONNECT_TO_TESTNET=true,
RL_SWARM_HOME, HF_ENDPOINT, TORCH_INDEX_URL, PYTHON, and the usual HTTP_PROXY, HTTPS_PROXY, NO_PROXY. For login and web page: NEXT_PUBLIC_ALCHEMY_API_KEY and
NEXT_PUBLIC_PAYMASTER_POLICY_ID (the testnet's login), LOGIN_PORT (3000), LOGIN_ALLOWED_HOSTS (names besides localhost
by which the page may be called), LOGIN_DATA_DIR, LOGIN_APP_DIR, RL_SWARM_ACCOUNT_PASSPHRASE.

Examples:
  ./run_rl_swarm.sh
  ./run_rl_swarm.sh --rounds 10
  ./run_rl_swarm.sh --join rlswarm1:...
  MODEL_NAME=Qwen/Qwen3-0.6B ./run_rl_swarm.sh --network gensyn-testnet --yes
  ./run_rl_swarm.sh login --headless
  ./run_rl_swarm.sh hub --host 0.0.0.0
USAGE
}

misuse() {
    printf 'rl-swarm: %s See ./run_rl_swarm.sh --help.\n' "$*" >&2
    exit 2
}

# distance WORD OTHER: how many letters to put in, take out or change (Levenshtein).
distance() {
    local i j above corner cheapest row=()
    for ((j = 0; j <= ${#2}; j++)); do row[j]=$j; done
    for ((i = 1; i <= ${#1}; i++)); do
        corner=${row[0]} row[0]=$i
        for ((j = 1; j <= ${#2}; j++)); do
            above=${row[j]} cheapest=$((row[j - 1] + 1))
            [ $((above + 1)) -ge "$cheapest" ] || cheapest=$((above + 1))
            [ "${1:i-1:1}" = "${2:j-1:1}" ] || corner=$((corner + 1))
            [ "$corner" -ge "$cheapest" ] || cheapest=$corner
            row[j]=$cheapest corner=$above
        done
    done
    printf '%d' "${row[${#2}]}"
}

# did_you_mean WORD KNOWN...: the end of a sentence, with the known word that is spelt most alike, if one is near.
did_you_mean() {
    local word="$1" known letters nearest="" least=3
    shift
    [ "${#word}" -ge 5 ] || least=2
    # Longer words are pasted text, and would take long.
    [ "${#word}" -le 24 ] || { printf '.' && return 0; }
    for known in "$@"; do
        letters="$(distance "$word" "$known")"
        [ "$letters" -ge "$least" ] || { nearest="$known" least="$letters"; }
    done
    if [ -n "$nearest" ]; then printf '; did you mean %s?' "$nearest"; else printf '.'; fi
}

is_yes() {
    case "$1" in [Tt]rue | TRUE | 1 | [Yy] | [Yy]es | YES | [Oo]n) return 0 ;; *) return 1 ;; esac
}

# ------------------------------------------------------------------------------------------------- the command line

COMMANDS=(run hub invite status leaderboard plot login identity doctor)
OPTIONS=(--network --join --rounds --home --yes --print-command --help)

command="run"
network=""
invite=""
home="${RL_SWARM_HOME:-$ROOT}"
asking="yes"
print_only=""
arguments=()
settings=()

# needs_value OPTION [VALUE]: refuses an option that came without its value.
needs_value() {
    case "${2:-}" in "" | -*) misuse "$1 needs a value." ;; esac
}

read_arguments() {
    case "${1:-}" in
        "" | -* | *=*) ;;
        *)
            command="$1"
            shift
            ;;
    esac
    # Before anything is installed for a word that was mistyped.
    case " ${COMMANDS[*]} " in
        *" $command "*) ;;
        *) misuse "There is no command '$command'$(did_you_mean "$command" "${COMMANDS[@]}")" ;;
    esac
    if [ "$command" != run ]; then
        asking=""
        arguments=("$@")
        return 0
    fi
    while [ $# -gt 0 ]; do
        case "$1" in
            --network=* | --join=* | --rounds=* | --home=*)
                local option="${1%%=*}" given="${1#*=}"
                shift
                set -- "$option" "$given" "$@"
                continue
                ;;
            --network | --join | --rounds | --home)
                needs_value "$@"
                case "$1" in
                    --network) network="$2" ;;
                    --join) invite="$2" ;;
                    --home) home="$2" ;;
                    --rounds)
                        case "$2" in *[!0-9]* | 0) misuse "--rounds takes a number from 1 up, and '$2' is none." ;; esac
                        ;;
                esac
                arguments+=("$1" "$2")
                shift 2
                ;;
            --yes | -y) asking="" && shift ;;
            --print-command) print_only="yes" && shift ;;
            --help | -h)
                usage
                exit 0
                ;;
            --)
                shift
                settings+=("$@")
                break
                ;;
            -*) misuse "There is no option $1$(did_you_mean "$1" "${OPTIONS[@]}")" ;;
            *=* | '~'*) settings+=("$1") && shift ;;
            *) misuse "'$1' is neither an option nor a setting (KEY=VALUE)." ;;
        esac
    done
    # Settings last: Python's parser refuses a second batch of them after an option.
    arguments+=(${settings[@]+"${settings[@]}"})
    [ -z "$network" ] || [ -z "$invite" ] || misuse "--network and --join exclude each other: an invite names its own network."
    case "$network" in
        "" | local | gensyn-testnet | offline) ;;
        *) misuse "There is no network '$network'; there are local, gensyn-testnet and offline." ;;
    esac
}

# has_setting KEY: whether the command line sets it.
has_setting() {
    local argument
    for argument in ${arguments[@]+"${arguments[@]}"}; do
        case "$argument" in "$1="* | "+$1="* | "++$1="*) return 0 ;; esac
    done
    return 1
}

# ---------------------------------------------------------------------------------------------------- the questions

# Whether the trained model goes to the Hub; a yes needs a token. Fetching models needs one only for gated models, and
# whoever chooses such a one is told about HF_TOKEN when it can't be fetched.
ask_for_push() {
    local answer=""
    while true; do
        answer=""
        printf 'Push the model you train to the Hugging Face Hub? [y/N]: '
        read -r answer || answer=n
        case "$answer" in
            [Yy] | [Yy][Ee][Ss]) break ;;
            "" | [Nn] | [Nn][Oo]) return 0 ;;
            hf_*) # The token itself.
                use_push_token "$answer"
                return 0
                ;;
        esac
        say_yes_or_no
    done
    # read's own prompt: it comes after the echo is off, so that nothing typed early shows.
    answer=""
    read -rs -p 'Token with the right to write (https://huggingface.co/settings/tokens; it is not shown): ' answer || true
    printf '\n'
    case "$answer" in
        "" | [Nn] | [Nn]o | [Nn]one) printf 'Without a token the model is not pushed.\n' ;;
        hf_* | api_*) use_push_token "$answer" ;;
        *) # Another hub than huggingface.co has tokens of its own.
            if [ -n "${HF_ENDPOINT:-}" ]; then use_push_token "$answer" && return 0; fi
            printf 'That is no token of the Hugging Face Hub, which begin with hf_: the model is not pushed.\n'
            ;;
    esac
}

say_yes_or_no() { printf 'Please answer y or n, or press Enter for the capital one; Ctrl-C ends.\n'; }

# use_push_token TOKEN: for the push, and for fetching the model too.
use_push_token() {
    export HUGGINGFACE_ACCESS_TOKEN="$1" HF_TOKEN="$1"
}

# Answers in a pipe or a file, as for a launcher that asks everybody, go unread: there is nobody to ask again.
warn_of_piped_answers() {
    local line=""
    if [ -p /dev/stdin ] || [ -f /dev/stdin ]; then
        # A pipe may have nothing to say, and stay open.
        read -r -t 1 line || true
        [ -z "$line" ] ||
            printf 'What is piped in is not read: only somebody at a terminal is asked. Say it by variables: %s\n' \
                'MODEL_NAME=..., HUGGINGFACE_ACCESS_TOKEN=..., PRG_GAME=true|false.' >&2
    fi
}

# Only a person at a terminal is asked, only what neither a variable nor an option says, and nothing on networks where
# the defaults are right for a first run (local, offline).
ask_questions() {
    local answer=""
    if [ -z "$network" ] && [ -z "$invite" ]; then
        if is_yes "${CONNECT_TO_TESTNET:-}"; then network="gensyn-testnet"; else network="local"; fi
    fi
    # Earlier launchers wrote "None" for "no token".
    case "${HUGGINGFACE_ACCESS_TOKEN:-}" in [Nn]one) HUGGINGFACE_ACCESS_TOKEN="" ;; esac
    [ -z "${HUGGINGFACE_ACCESS_TOKEN:-}" ] || export HF_TOKEN="${HF_TOKEN:-$HUGGINGFACE_ACCESS_TOKEN}"
    [ -z "$asking" ] || warn_of_piped_answers
    if [ -z "$asking" ] || [ ! -t 0 ] || [ ! -t 1 ]; then return 0; fi
    case "$network" in local | offline) return 0 ;; esac

    if [ -z "${HF_TOKEN+set}" ] && [ -z "${HUGGINGFACE_ACCESS_TOKEN+set}" ]; then ask_for_push; fi
    if [ -z "${MODEL_NAME+set}" ] && ! has_setting training.model_name; then
        while true; do
            printf 'Model to train: a Hugging Face name or a folder, or press Enter for one that suits network and machine: '
            answer=""
            read -r answer || true
            case "$answer" in "" | *[A-Za-z0-9]*) break ;; esac
            printf 'A name is like Qwen/Qwen3-0.6B; Enter chooses one.\n'
        done
        [ -z "$answer" ] || export MODEL_NAME="$answer"
    fi
    if [ "$network" = gensyn-testnet ] && [ -z "${PRG_GAME+set}" ] && ! has_setting prg_game_config.prg_game; then
        while true; do
            printf 'Let the model play the AI Prediction Market? [Y/n]: '
            answer=""
            read -r answer || answer=y
            case "$answer" in
                [Nn] | [Nn][Oo]) export PRG_GAME=false && break ;;
                "" | [Yy] | [Yy][Ee][Ss]) export PRG_GAME=true && break ;;
            esac
            say_yes_or_no
        done
    fi
}

# -------------------------------------------------------------------------------------------------------- the start

# asks_for WORD...: whether one of them is among the arguments.
asks_for() {
    local word argument
    for word in "$@"; do
        for argument in ${arguments[@]+"${arguments[@]}"}; do
            case "$argument" in "$word" | "$word="*) return 0 ;; esac
        done
    done
    return 1
}

# A chain of our own needs the anvil binary, and npm brings it where it isn't there yet.
needs_node() {
    case "$command/$network" in run/local | hub/) ;; *) return 1 ;; esac
    ! asks_for --help -h --rpc-url || return 1
    local cache="${XDG_CACHE_HOME:-${HOME:-$ROOT}/.cache}/rl-swarm/anvil" binary
    [ -z "${ANVIL:-}" ] || return 1
    command -v anvil >/dev/null 2>&1 && return 1
    for binary in "$ROOT"/contracts/node_modules/@foundry-rs/anvil-*/bin/anvil "$cache"/*/node_modules/@foundry-rs/anvil-*/bin/anvil; do
        [ ! -x "$binary" ] || return 1
    done
}

# Login server and web page run on Node.js; a run goes on without the page, and says itself what it can't do without.
wants_node() {
    ! asks_for --help -h --headless observe.page=no || return 1
    # An image has them built and without sources: whatever is missing there can't be brought.
    local app="${LOGIN_APP_DIR:-$ROOT/modal-login}"
    [ -d "$app/app" ] || [ ! -e "$app/.next/standalone/server.js" ] || return 1
    case "$command/$network" in login/* | run/local | run/gensyn-testnet) return 0 ;; esac
    [ "$command" = run ] && [ -n "$invite" ]
}

print_command() {
    local name
    for name in MODEL_NAME PRG_GAME; do
        [ -z "${!name+set}" ] || printf '%s=%q ' "$name" "${!name}"
    done
    for name in HF_TOKEN HUGGINGFACE_ACCESS_TOKEN; do
        [ -z "${!name:-}" ] || printf '%s=... ' "$name"
    done
    printf 'RL_SWARM_HOME=%q rl-swarm %q' "$home" "$command"
    [ "${#arguments[@]}" -eq 0 ] || printf ' %q' "${arguments[@]}"
    printf '\n'
}

main() {
    local called
    read_arguments "$@"
    [ "$command" != run ] || ask_questions
    export RL_SWARM_HOME="$home"
    if [ -n "$print_only" ]; then
        print_command
        exit 0
    fi
    INSTALL_LOG="$home/logs/install.log"
    prepare_environment
    if needs_node; then
        prepare_node
    elif wants_node && ! try_node; then
        say "Node.js could not be installed: going on without the node's web page. Install Node.js 20.9 or newer with" \
            "npm ($(distribution_command 'nodejs npm' 'nodejs npm' node); log: $INSTALL_LOG) to have it."
    fi
    # So messages name commands as this user types them.
    case "$0" in */*) called="$0" ;; *) called="bash $0" ;; esac
    export RL_SWARM_COMMAND="${RL_SWARM_COMMAND:-$called}"
    export VIRTUAL_ENV="$VENV" PATH="$VENV/bin:$PATH"
    exec "$VENV/bin/rl-swarm" "$command" ${arguments[@]+"${arguments[@]}"}
}

main "$@"
