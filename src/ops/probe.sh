# shellcheck shell=sh
# One look at a host: everything `fleet` needs to know, in one answer.
#
# Runs as root under any POSIX shell and changes nothing. Variables above this text say what to
# look at. Each line of the answer is a key, a tab and a value; the last one is "end", so that a
# cut answer is never taken for a whole one.
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
say() { printf '%s\t%s\n' "$1" "$2"; }
have() { command -v "$1" >/dev/null 2>&1; }
encoded() { base64 <"$1" | tr -d '\n'; }

# -- system ------------------------------------------------------------------------------------
# shellcheck disable=SC1091
[ -r /etc/os-release ] && . /etc/os-release
say os "${ID-unknown}"
say os_version "${VERSION_ID-}"
say codename "${VERSION_CODENAME-}"
say os_name "${PRETTY_NAME-}"
say arch "$(dpkg --print-architecture 2>/dev/null || uname -m)"
say clock "$(date +%s)"
say cpus "$(nproc 2>/dev/null || echo 1)"
say load "$(cut -d' ' -f1-3 /proc/loadavg 2>/dev/null)"
say uptime "$(cut -d. -f1 /proc/uptime 2>/dev/null)"
awk '/^(MemTotal|MemAvailable|SwapTotal):/ { sub(":", "", $1); print $1 "\t" $2 }' /proc/meminfo
disk_of=/opt
[ -d "/opt/$STACK" ] && disk_of="/opt/$STACK"
[ -d "$disk_of" ] || disk_of=/
df -Pk "$disk_of" 2>/dev/null | awk 'NR == 2 { print "disk_total\t" $2; print "disk_free\t" $4; sub("%", "", $5); print "disk_percent\t" $5 }'
if [ -e /var/run/reboot-required ]; then
    say reboot_required yes
    say reboot_since "$(stat -L -c %Y /var/run/reboot-required)"
fi
if have cloud-init && [ -e /run/cloud-init ]; then
    say cloud_init "$(timeout 10 cloud-init status 2>/dev/null | sed -n 's/^status: *//p')"
fi
for port in $({
    sshd -T 2>/dev/null | sed -n 's/^port //p'
    systemctl show ssh.socket -p Listen 2>/dev/null | sed -n 's/.*:\([0-9][0-9]*\) .*/\1/p'
} | sort -u); do say ssh_port "$port"; done

# -- packages, units, files --------------------------------------------------------------------
if [ -n "$PACKAGES" ]; then
    # shellcheck disable=SC2086
    dpkg-query -W -f='package\t${Package} ${db:Status-Abbrev} ${Version}\n' $PACKAGES 2>/dev/null
fi
if [ -n "$UNITS" ] && have systemctl; then
    for unit in $UNITS; do
        say unit "$unit $(systemctl is-enabled "$unit" 2>/dev/null | head -n 1) $(systemctl is-active "$unit" 2>/dev/null | head -n 1)"
    done
fi
printf '%s\n' "$FILES" | while IFS= read -r path; do
    [ -f "$path" ] || continue
    say file "$(sha256sum <"$path" | cut -c1-64) $(stat -c '%a' "$path") $path"
done
printf '%s\n' "$DIRS" | while IFS= read -r path; do
    [ -d "$path" ] || continue
    say dir "$(stat -c '%a' "$path") $path"
done
if [ -n "$DEPLOY_USER" ] && id "$DEPLOY_USER" >/dev/null 2>&1; then
    say deploy_user "$DEPLOY_USER"
    home=$(getent passwd "$DEPLOY_USER" | cut -d: -f6)
    if [ -f "$home/.ssh/authorized_keys" ] && grep -qF -- "$DEPLOY_KEY" "$home/.ssh/authorized_keys"; then
        say deploy_key yes
    fi
fi
if have nft && nft list table inet fleet >/dev/null 2>&1; then say firewall loaded; fi

# -- release -----------------------------------------------------------------------------------
base=/opt/$STACK
if [ -n "$RELEASE" ] && [ ! -f "$base/releases/$RELEASE/.complete" ]; then COMPOSE=; fi
if [ -f "$base/state.json" ]; then say state "$(encoded "$base/state.json")"; fi
if [ -L "$base/current" ]; then say current "$(basename "$(readlink "$base/current")")"; fi
for dir in "$base"/releases/*/; do
    [ -d "$dir" ] || continue
    name=$(basename "$dir")
    mark=partial
    [ -f "$dir/.complete" ] && mark=complete
    [ -f "$dir/.failed" ] && mark=failed
    if [ -f "$dir/.state.json" ]; then say release "$name $mark $(encoded "$dir/.state.json")"; else say release "$name $mark"; fi
done
if [ -f "$base/current/.sha256" ]; then
    (cd "$base/current" && sha256sum -c --quiet .sha256 2>/dev/null) | sed -n 's/: FAILED.*$//p' | while IFS= read -r path; do say drift "$path"; done
fi
if [ -n "$RELEASE" ] && [ -f "$base/releases/$RELEASE/.complete" ] &&
    (cd "$base/releases/$RELEASE" && sha256sum -c --status .sha256 2>/dev/null); then say sealed "$RELEASE"; fi
# What the current release has of the files that another is about to have, where they differ.
if [ -n "$COMPARE" ] && [ -d "$base/current" ]; then
    printf '%s\n' "$COMPARE" | while IFS=' ' read -r digest path; do
        file=$base/current/$path
        [ -f "$file" ] || continue
        [ "$(sha256sum <"$file" | cut -c1-64)" = "$digest" ] || say old "$(stat -c %s "$file") $(head -c 65536 "$file" | base64 | tr -d '\n') $path"
    done
    if [ -f "$base/current/.sha256" ]; then
        sed -n 's/^[0-9a-f]\{64\}  \([^/].*\)$/\1/p' "$base/current/.sha256" | head -n 500 | while IFS= read -r path; do say written "$path"; done
    fi
fi
lease=/run/fleet/$STACK.lease
if [ -f "$lease" ]; then say lease "$(encoded "$lease")"; fi
if [ -f "$base/backups/last" ]; then say backup "$(head -c 300 "$base/backups/last" | tr '\n\t' '  ')"; fi
if [ -f "$base/check.state" ]; then say check "$(head -c 300 "$base/check.state" | tr '\n\t' '  ')"; fi

if [ -f "$base/security.updates" ]; then say security_updates "$(head -c 20 "$base/security.updates")"; fi

# -- docker ------------------------------------------------------------------------------------
if have docker; then
    say compose "$(timeout 10 docker compose version --short 2>/dev/null)"
    engine=$(timeout 15 docker version --format '{{.Server.Version}}' 2>/dev/null)
    if [ -n "$engine" ]; then
        say engine "$engine"
        ids=$(timeout 20 docker ps -aq --no-trunc --filter "label=com.docker.compose.project=$STACK")
        if [ -n "$ids" ]; then
            # shellcheck disable=SC2086
            timeout 20 docker inspect --format 'container	{{.ID}} {{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.RestartCount}} {{.State.StartedAt}} {{.Config.Image}} {{index .Config.Labels "com.docker.compose.config-hash"}}' $ids
        fi
        if [ -n "$COMPOSE" ]; then
            # What each service of the wanted release would be: a container with another hash is replaced.
            timeout 30 sh -c "$COMPOSE config --hash '*'" 2>/dev/null | while read -r service hash; do say service "$service $hash"; done
        fi
        timeout 20 docker image ls --no-trunc --format 'image	{{.Repository}}:{{.Tag}} {{.ID}} {{.Digest}}'
        timeout 20 docker volume ls --filter "label=com.docker.compose.project=$STACK" --format 'volume	{{.Name}}'
        if [ -n "$DB_SERVICE" ]; then
            db=$(timeout 10 docker ps -q --filter "label=com.docker.compose.project=$STACK" --filter "label=com.docker.compose.service=$DB_SERVICE" | head -n 1)
            if [ -n "$db" ] && timeout 10 docker exec "$db" pg_isready -q -U "$DB_USER" -d "$DB_NAME" >/dev/null 2>&1; then
                say database ready
                timeout 20 docker exec "$db" psql -U "$DB_USER" -d "$DB_NAME" -AtX -F ' ' -c \
                    "select 'migration' || chr(9) || name || ' ' || sha256 from fleet_migrations order by name" -c "select 'leftover' || chr(9) || datname from pg_database where datname ~ '_(restoring|before_[0-9_a-f]+)\$' order by datname" 2>/dev/null
            fi
        fi
    fi
fi
# @outside@

# -- TLS and HTTP ------------------------------------------------------------------------------
certificate() {
    openssl x509 -noout -enddate -startdate -serial -issuer -ext subjectAltName 2>/dev/null | awk -v prefix="$1" '
        /^notAfter=/  { sub("notAfter=", "");  print prefix "_not_after\t" $0 }
        /^notBefore=/ { sub("notBefore=", ""); print prefix "_not_before\t" $0 }
        /^serial=/    { sub("serial=", "");    print prefix "_serial\t" $0 }
        /^issuer=/    { sub("issuer=", "");    print prefix "_issuer\t" $0 }
        /DNS:/        { gsub(/[ ]/, "");       print prefix "_names\t" $0 }'
}
if have openssl; then
    live=/etc/letsencrypt/live/$DOMAIN/fullchain.pem
    if [ -f "$live" ]; then certificate live <"$live"; fi
    if [ -f "/etc/letsencrypt/renewal/$DOMAIN.conf" ]; then
        say live_server "$(sed -n 's/^server *= *//p' "/etc/letsencrypt/renewal/$DOMAIN.conf" | head -n 1)"
    fi
    if [ -f "$base/tls/fullchain.pem" ]; then certificate disk <"$base/tls/fullchain.pem"; fi
    if [ "$TLS" = yes ] && [ -n "${engine-}" ]; then
        timeout 5 openssl s_client -connect 127.0.0.1:443 -servername "$DOMAIN" </dev/null 2>/dev/null | certificate served
    fi
fi
if [ -n "$HEALTH_URL" ] && have curl && [ -n "${engine-}" ]; then
    # The answer follows the last line of the body, so that no temporary file is needed.
    answer=$(curl -sk --max-time 8 --max-filesize 65536 --resolve "$DOMAIN:443:127.0.0.1" --resolve "$DOMAIN:80:127.0.0.1" \
        -w '\n%{http_code} %{time_total}' "$HEALTH_URL" 2>/dev/null)
    say http "$(printf '%s\n' "$answer" | tail -n 1)"
    say http_body "$(printf '%s\n' "$answer" | sed '$d' | head -c 4096 | base64 | tr -d '\n')"
fi
# -- the stack's own checks --------------------------------------------------------------------
say_own() { say own_check "$1 $2"; }
if [ -n "${engine-}" ]; then
    :
# @own@
fi
say end ok
