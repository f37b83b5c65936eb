#!/usr/bin/env bash
# Does what the official image's entry script does, as far as its documented variables go:
# POSTGRES_USER, _PASSWORD (also as _FILE), _DB, _INITDB_ARGS, _INITDB_WALDIR, _HOST_AUTH_METHOD, PGDATA.
set -Eeuo pipefail

# from_file NAME DEFAULT: the variable's value, or the content of the file that NAME_FILE names.
from_file() {
    local file=${1}_FILE
    if [ -n "${!file:-}" ]; then
        [ -z "${!1:-}" ] || { echo "error: both $1 and $file are set" >&2; exit 1; }
        export "$1=$(<"${!file}")"
        unset "$file"
    else
        export "$1=${!1:-$2}"
    fi
}

set_up_folders() {
    mkdir -p "$PGDATA"
    chmod 00700 "$PGDATA" || :
    if [ "$(id -u)" = 0 ]; then
        find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
        chown postgres /var/run/postgresql
    fi
}

require_password() {
    if [ -z "$POSTGRES_PASSWORD" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        echo "Error: Database is uninitialized and superuser password is not specified." >&2
        exit 1
    fi
}

create_cluster() {
    local arguments=(--username="$POSTGRES_USER")
    if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then arguments+=(--waldir "$POSTGRES_INITDB_WALDIR"); fi
    eval 'initdb "${arguments[@]}" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") '"${POSTGRES_INITDB_ARGS:-}"
    # Debian's socket folder, beside the one that these binaries were built with.
    printf "unix_socket_directories = '/var/run/postgresql,/tmp'\n" >>"$PGDATA/postgresql.conf"
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}" >>"$PGDATA/pg_hba.conf"
}

as_superuser() {
    PGPASSWORD=$POSTGRES_PASSWORD psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password "$@"
}

create_database() {
    if [ "$POSTGRES_DB" = postgres ]; then return; fi
    as_superuser --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db" ;'
}

run_scripts() {
    local file
    # shellcheck disable=SC1090  # the scripts are the user's
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
        *.sql) as_superuser --dbname "$POSTGRES_DB" -f "$file" ;;
        *.sql.gz) gunzip -c "$file" | as_superuser --dbname "$POSTGRES_DB" ;;
        esac
    done
}

initialise() {
    from_file POSTGRES_PASSWORD ''
    from_file POSTGRES_USER postgres
    from_file POSTGRES_DB "$POSTGRES_USER"
    require_password
    create_cluster
    pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start
    create_database
    run_scripts
    pg_ctl -D "$PGDATA" -m fast -w stop
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
}

if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
if [ "$1" = postgres ]; then
    set_up_folders
    if [ "$(id -u)" = 0 ]; then exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"; fi
    if [ ! -s "$PGDATA/PG_VERSION" ]; then initialise; fi
fi
exec "$@"
