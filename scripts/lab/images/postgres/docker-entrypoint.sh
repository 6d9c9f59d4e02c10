#!/bin/bash
# The parts of the official entrypoint that an application relies on: POSTGRES_* variables (or
# their _FILE form), a first start without TCP, *.sh, *.sql and *.sql.gz of /docker-entrypoint-initdb.d.
set -Eeuo pipefail

file_env() {
    local name=$1 file="$1_FILE"
    if [ -n "${!file:-}" ]; then
        [ -z "${!name:-}" ] || { echo "error: both $name and $file are set (but are exclusive)" >&2; exit 1; }
        export "$name=$(<"${!file}")"
        unset "$file"
    fi
    [ -n "${!name:-}" ] || export "$name=${2:-}"
}

[ "${1:0:1}" != - ] || set -- postgres "$@"
[ "$1" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA"
    find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
    exec setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/var/lib/postgresql "${BASH_SOURCE[0]}" "$@"
fi

if [ -s "$PGDATA/PG_VERSION" ]; then
    echo "PostgreSQL Database directory appears to contain a database; Skipping initialization"
    exec "$@"
fi

file_env POSTGRES_PASSWORD
file_env POSTGRES_USER postgres
file_env POSTGRES_DB "$POSTGRES_USER"
file_env POSTGRES_INITDB_ARGS
: "${POSTGRES_HOST_AUTH_METHOD:=scram-sha-256}"
if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
    echo "Error: Database is uninitialized and superuser password is not specified." >&2
    echo "       You must specify POSTGRES_PASSWORD to a non-empty value for the superuser." >&2
    exit 1
fi

# shellcheck disable=SC2086 # arguments are words
initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") --encoding=UTF8 $POSTGRES_INITDB_ARGS
printf '\nhost all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >>"$PGDATA/pg_hba.conf"

export PGPASSWORD=$POSTGRES_PASSWORD
pg_ctl -D "$PGDATA" -w start -o "-c listen_addresses=''"
sql() { psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$POSTGRES_USER" "$@"; }
if [ "$POSTGRES_DB" != postgres ]; then
    sql --dbname postgres -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
fi
# shellcheck disable=SC1090 # whatever the image was given
for f in /docker-entrypoint-initdb.d/*; do
    case $f in
    *.sh) if [ -x "$f" ]; then "$f"; else . "$f"; fi ;;
    *.sql) sql --dbname "$POSTGRES_DB" -f "$f" ;;
    *.sql.gz) gunzip -c "$f" | sql --dbname "$POSTGRES_DB" ;;
    esac
done
pg_ctl -D "$PGDATA" -m fast -w stop
unset PGPASSWORD
echo
echo "PostgreSQL init process complete; ready for start up."
echo
exec "$@"
