#!/usr/bin/env bash
# The manual runbook's ./scripts/migrate.sh, for those who have it in their fingers: shows the ansible-playbook line, and runs it.
#   scripts/migrate.sh apply|plan|rehearse|seed|backup|backups|status|diagnose production|preview [options of ansible-playbook]
#   scripts/migrate.sh deploy production|preview IMAGE [options of ansible-playbook]
#   scripts/migrate.sh restore production|preview latest|undo|ID [options of ansible-playbook]
#   scripts/migrate.sh reset preview [options of ansible-playbook]
# apply: migrate.yml.  reset: preview_reset.yml.  The others are named like their playbooks.
# The playbooks are those beside the folder scripts, else those of a checkout, else the installed collection's.
set -euo pipefail

usage() {
    sed -n '3,6s/^#   /usage: /p' "$0" >&2
    exit 2
}

refuse() {
    echo "$(basename "$0"): $*" >&2
    exit 2
}

# find_playbook NAME: changes to the folder in which it is to be run, and says how to call it there.
find_playbook() {
    local root
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    if [ -f "$root/$1.yml" ]; then
        cd "$root"
        playbook=$1.yml
    elif [ -f "$root/playbooks/$1.yml" ]; then
        cd "$root/playbooks"
        playbook=$1.yml
    else
        playbook=dbops.postgres.$1
    fi
}

[ $# -ge 2 ] || usage
verb=$1 environment=$2
shift 2
case $environment in
production | preview) ;;
*) refuse "'$environment' is no environment that this script knows: production or preview" ;;
esac
options=()
case $verb in
apply) name=migrate ;;
plan | rehearse | seed | backup | backups | status | diagnose) name=$verb ;;
deploy)
    case ${1:-} in
    '' | -*) refuse "say which image, as the registry knows it: registry.example.org/chat-backend:v42" ;;
    esac
    name=deploy options=(-e "dbops_image=$1")
    shift
    ;;
restore)
    case ${1:-} in
    '' | -*) refuse "say which backup: latest, undo, or an id that '$(basename "$0") backups $environment' shows" ;;
    esac
    name=restore options=(-e "dbops_restore_backup=$1")
    shift
    ;;
reset)
    [ "$environment" = preview ] || refuse "reset destroys all data and is for preview only; $environment was not touched"
    name=preview_reset
    ;;
*) usage ;;
esac
find_playbook "$name"
line=(ansible-playbook "$playbook" -l "$environment" ${options[@]+"${options[@]}"} "$@")
printf '+ %s\n' "$(printf '%q ' "${line[@]}" | sed 's/ $//')" >&2
exec "${line[@]}"
