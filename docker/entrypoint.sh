#!/usr/bin/env bash
# The first program of a container, and `rl-swarm` inside one that runs: become who owns the node's folder on the host,
# turn variables into options, and hand over to run_rl_swarm.sh by `exec`, so that signals reach the node itself.
set -euo pipefail

APP="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)"
FOLDERS=("$RL_SWARM_HOME" "$XDG_CACHE_HOME")
# The image's own user, for folders that are root's.
IMAGE_USER=10001
STARTED=/tmp/rl-swarm.started

fail() {
    printf 'rl-swarm: %s\n' "$*" >&2
    exit 1
}

# ------------------------------------------------------------------------------------------- who this container is

# as UID[:GID] COMMAND...: run it as that user, who can never become root again.
as() {
    local user="$1"
    shift
    setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups --no-new-privs -- "$@"
}

# Whether root in here is an ordinary user of the host (a rootless engine): then that user is who owns the folders.
root_is_a_user() { [ "$(awk '{ print $1, $2, $3 }' /proc/self/uid_map)" != "0 0 4294967295" ]; }

can_write() { as "$1" test -w "$2"; }

# unusable USER ACTION...: find's action for whatever of the node's own belongs to another user than this and isn't open to
# this one. Not for what else may lie in its folder: the cache, which nodes share, and other containers' homes.
unusable() {
    local user="$1" home="$RL_SWARM_HOME"
    shift
    find "$home" -mindepth 1 \
        -type d -path "$home/*" ! -path "$home/*/*" ! -path "$home/keys" ! -path "$home/configs" ! -path "$home/logs" \
        ! -path "$home/modal-login" ! -path "$home/.rl-swarm" -prune -o \
        ! -uid "$user" \( ! -readable -o ! -writable -o -type d ! -executable \) "$@"
}

# take_over USER:GROUP: what an earlier image's user left there, or somebody put there with sudo, is given to the node's
# user. This goes on as that user with root's right to give files away: root without its other rights can look into
# nobody's folders.
take_over() {
    export -f unusable
    # shellcheck disable=SC2016 # for the inner bash
    setpriv --reuid "${1%:*}" --regid "${1#*:}" --clear-groups --inh-caps -all,+chown --ambient-caps -all,+chown \
        --no-new-privs -- bash -c 'unusable "${1%:*}" -exec chown -h "$1" {} \;' bash "$1" 2>/dev/null || true
}

# Started as root, the container goes on as the owner of the node's folder, so that what it writes belongs to them.
give_up_root() {
    local user folder
    user="$(stat -c %u:%g "$RL_SWARM_HOME")"
    if [ "${user%:*}" = 0 ]; then
        if root_is_a_user; then
            take_over "$user"
            return 0
        fi
        user="$IMAGE_USER:$IMAGE_USER"
    fi
    # Root's folders are given to that user: those that root itself cloned, or that the engine made as they were missing.
    # Docker Desktop lets everybody write instead.
    for folder in "${FOLDERS[@]}"; do
        if [ "$(stat -c %u "$folder")" = 0 ] && ! can_write "$user" "$folder"; then
            chown -R "$user" "$folder" 2>/dev/null ||
                fail "$folder belongs to root and can't be given to user ${user%:*}. Give its folder on the host to your" \
                    "own user, or start the container with that capability (CHOWN), as docker-compose.yaml does."
        fi
    done
    take_over "$user"
    exec setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups --no-new-privs -- "$0" "$@"
}

require_folders() {
    local folder closed
    for folder in "${FOLDERS[@]}"; do
        [ -w "$folder" ] ||
            fail "user $(id -u) can't write to $folder. Make its folder on the host writable for that user, or let the" \
                "container start as root (user: 0:0): it then becomes whoever owns the folder."
    done
    closed="$(unusable "$(id -u)" -printf '%p (of user %U)' -quit 2>/dev/null)" || true
    [ -z "$closed" ] ||
        fail "user $(id -u) can't read or change $closed. Let the container start as root with the capability CHOWN, as" \
            "docker-compose.yaml does, or give the file on the host to that user (chown)."
}

# ------------------------------------------------------------------------------------------------ what it is to do

# named OPTION ARGUMENT...: whether the option is among the arguments.
named() {
    local option="$1" argument
    shift
    for argument in "$@"; do
        case "$argument" in "$option" | "$option="*) return 0 ;; esac
    done
    return 1
}

options=()

# Sets options: what variables say and the command line doesn't.
read_variables() {
    local variable option
    if [ "$1" = hub ]; then
        case "${HUB_BIND:-127.0.0.1}/${HUB_PUBLIC_HOST:-}" in
            127.*) ;;
            */ | */hub)
                printf 'The ports are open to others, but the invite names this hub "hub", which they cannot find: %s\n' \
                    'set HUB_PUBLIC_HOST to the name or address that they use.' >&2
                ;;
        esac
        for variable in PORT P2P_PORT PUBLIC_HOST PUBLIC_URL TRUSTED_PROXY TASKS MODEL ROUND_LIMIT ROUND_MINIMUM RPC_URL CONTRACT; do
            option="${variable//_/-}" option="--${option,,}" variable="HUB_$variable"
            if [ -n "${!variable:-}" ] && ! named "$option" "$@"; then options+=("$option" "${!variable}"); fi
        done
        return 0
    fi
    if ! named --join "$@" && ! named --network "$@"; then
        if [ -n "${SWARM_INVITE:-}" ]; then
            options+=(--join "$SWARM_INVITE")
        elif [ -n "${SWARM_NETWORK:-}" ]; then
            options+=(--network "$SWARM_NETWORK")
        fi
    fi
    # Others reach this node at a published port: it must be the one that is published.
    [ -z "${P2P_ANNOUNCE:-}" ] || options+=(communications.port=38700 "communications.announce=[\"${P2P_ANNOUNCE//,/\",\"}\"]")
}

# No proxy reaches what listens in this container, or a container of the same compose file by its name.
pass_proxies_by() {
    local past="${no_proxy:-${NO_PROXY:-}}"
    case "${HTTP_PROXY:-}${http_proxy:-}${HTTPS_PROXY:-}${https_proxy:-}${ALL_PROXY:-}${all_proxy:-}" in "") return 0 ;; esac
    export no_proxy="${past:+$past,}localhost,127.0.0.1,::1,hub${HUB_PUBLIC_HOST:+,$HUB_PUBLIC_HOST}"
    export NO_PROXY="$no_proxy"
}

main() {
    local command="run"
    [ "$(id -u)" != 0 ] || give_up_root "$@"
    case "${1:-}" in
        health) exec "$APP/docker/health.sh" "$STARTED" ;;
        "" | -* | *=*) ;;
        *) command="$1" && shift ;;
    esac
    require_folders
    # The container's own program, whether an init is above it or not; not one that was started in it later.
    if [ "$$" = 1 ] || [ "$PPID" = 1 ]; then
        echo "$command" >"$STARTED" || true
        mountpoint -q "$RL_SWARM_HOME" ||
            printf 'Nothing is mounted at %s: identity and model will be gone with this container.\n' "$RL_SWARM_HOME" >&2
    fi
    pass_proxies_by
    mkdir -p "$RL_SWARM_HOME/modal-login"
    ln -sfn "$RL_SWARM_HOME/modal-login" /tmp/modal-login
    # As it is called inside a container; docker-compose.yaml says how that is from outside.
    export RL_SWARM_COMMAND="${RL_SWARM_COMMAND:-rl-swarm}"
    case "$command" in
        run | hub) read_variables "$command" "$@" ;;
        # Several processes as one peer: accelerate launch --num_processes 2 -m rgym_exp.cli run
        accelerate | torchrun) exec "$APP/.venv/bin/$command" "$@" ;;
    esac
    exec "$APP/run_rl_swarm.sh" "$command" ${options[@]+"${options[@]}"} "$@"
}

main "$@"
