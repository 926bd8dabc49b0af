#!/usr/bin/env bash
# Runs `mediapool distribute`: from cron, a systemd path unit, or as "Custom Script" of Sonarr and Radarr (Connect).
# MEDIAPOOL_SOURCES (folders, ":" between them) and MEDIAPOOL_LIBRARY say what; arguments go to mediapool distribute.
set -euo pipefail
: "${MEDIAPOOL_SOURCES:?name the folders to distribute}" "${MEDIAPOOL_LIBRARY:?name the folder for the links}"
top=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")
PATH=$PATH:$top/.venv/bin
IFS=: read -ra sources <<<"$MEDIAPOOL_SOURCES"
run=(mediapool distribute "${sources[@]}" --library "$MEDIAPOOL_LIBRARY" "$@")
log=${MEDIAPOOL_LOG:-${XDG_STATE_HOME:-$HOME/.local/state}/mediapool-trigger.log}

# They are sonarr_eventtype and so on: Linux gets all names in lower case, other systems not.
event=$(env | sed -nE 's/^(sonarr|radarr)_eventtype=//Ip' | head -n 1)
case ${event,,} in
"") exec flock "$MEDIAPOOL_LIBRARY" "${run[@]}" --yes ;; # a timer: one run after the other
test) exec "${run[@]}" --dry-run ;;                      # an error shows as a failed test
download | rename | *delete)
    mkdir -p -- "$(dirname -- "$log")"
    # Sonarr and Radarr wait for a script. What was imported just now is left alone for a minute, so be later.
    wait=${MEDIAPOOL_WAIT:-70}
    setsid bash -c 'sleep "$1"; shift; exec flock "$@" --yes' - "$wait" "$MEDIAPOOL_LIBRARY" "${run[@]}" \
        </dev/null >>"$log" 2>&1 &
    ;;
*) ;; # grabs, health and the like move no file
esac
