# shellcheck shell=bash
# What the scripts in demo/ and tests/stack/ share.  Sourced, never run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # used by the scripts that source this file
VENV=$ROOT/.venv STATE=$ROOT/.stack CACHE=$ROOT/.cache

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$(basename "$0"): $*"
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

has() { command -v "$1" >/dev/null 2>&1; }

# Who was just added to the group docker is in it only after a new login; sg makes one for this script.
enter_docker_group() {
    if [ "$(id -u)" != 0 ] && has sg && ! id -nG | grep -qw docker && id -nG "$(id -un)" | grep -qw docker; then
        exec sg docker -c "$(printf '%q ' "$0" "$@")"
    fi
}

engine_answers() { docker info >/dev/null 2>&1; }

need_engine() {
    engine_answers || die "no Docker engine answers; start one with: demo/engine start"
}

# poll SECONDS COMMAND...: until the command succeeds, at most so long.
poll() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

hash_of() { sha256sum | cut -c1-16; }
