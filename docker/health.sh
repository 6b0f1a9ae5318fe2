#!/usr/bin/env bash
# Whether the container does what it is for: docker/health.sh FILE, where FILE has the command that it was started with.
#   hub    its API says that it is well
#   run    a round was finished since the start, and within the last HEALTH_MINUTES (20): a node that waits for ever,
#          for a swarm or for itself, isn't healthy, though it is alive
# Every other command is healthy as long as it runs.
set -euo pipefail

started="$1"
case "$(cat "$started")" in
    hub)
        exec 3<>"/dev/tcp/127.0.0.1/${HUB_PORT:-8600}"
        printf 'GET /health HTTP/1.0\r\n\r\n' >&3
        read -r -t 5 answer <&3
        printf '%s\n' "$answer"
        case "$answer" in *" 200 "*) ;; *) exit 1 ;; esac
        ;;
    run)
        metrics="$RL_SWARM_HOME/logs/metrics.jsonl"
        [ "$metrics" -nt "$started" ] || { echo "no round finished yet" && exit 1; }
        [ -n "$(find "$metrics" -mmin "-${HEALTH_MINUTES:-20}")" ] ||
            { echo "no round finished in the last ${HEALTH_MINUTES:-20} minutes" && exit 1; }
        ;;
esac
