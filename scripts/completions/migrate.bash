# shellcheck shell=bash
# Completion of scripts/migrate.sh in bash.  In ~/.bashrc:  source /path/to/scripts/completions/migrate.bash

_dbops_migrate() {
    local word=${COMP_WORDS[COMP_CWORD]} choices
    case $COMP_CWORD in
    1) choices='apply plan rehearse deploy seed backup backups restore reset status diagnose' ;;
    2) if [ "${COMP_WORDS[1]}" = reset ]; then choices=preview; else choices='production preview'; fi ;;
    3) if [ "${COMP_WORDS[1]}" = restore ]; then choices='latest undo'; else choices='-e --check --diff --forks --vault-id -v'; fi ;;
    *) choices='-e --check --diff --forks --vault-id -v' ;;
    esac
    # shellcheck disable=SC2207  # one word each
    COMPREPLY=($(compgen -W "$choices" -- "$word"))
}

complete -F _dbops_migrate migrate.sh
