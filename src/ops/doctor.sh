# shellcheck shell=sh
# What `fleet doctor` asks a host: what provisioning and renewal will need of it. Changes nothing.
#
# Runs as the login user; root is asked for where it is needed, so that a missing sudo is a finding and
# not the end. Each line of the answer is a key, a tab and a value; the last one is "end".
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
say() { printf '%s\t%s\n' "$1" "$2"; }
have() { command -v "$1" >/dev/null 2>&1; }
if [ "$(id -u)" -eq 0 ]; then
    root() { "$@"; }
    say sudo yes
elif sudo -n true 2>/dev/null; then
    root() { sudo -n "$@"; }
    say sudo yes
else
    root() { "$@"; }
    say sudo no
fi
say clock "$(date +%s)"
# shellcheck disable=SC1091
[ -r /etc/os-release ] && . /etc/os-release
say os "${ID-unknown}"
say os_version "${VERSION_ID-}"
say os_name "${PRETTY_NAME-}"
say arch "$(dpkg --print-architecture 2>/dev/null || uname -m)"
awk '/^(MemTotal|SwapTotal):/ { sub(":", "", $1); print $1 "\t" $2 }' /proc/meminfo
df -Pk / 2>/dev/null | awk 'NR == 2 { print "disk_free\t" $4; sub("%", "", $5); print "disk_percent\t" $5 }'
if have rsync; then say rsync yes; fi
if [ -d /run/systemd/system ]; then say systemd yes; fi
if have docker; then
    say compose "$(timeout 10 docker compose version --short 2>/dev/null)"
    say engine "$(root timeout 15 docker version --format '{{.Server.Version}}' 2>/dev/null)"
fi
# Who holds the ports of the web: our own containers, or a server that came with the image of the provider.
for port in 80 443; do
    holder=$(root docker ps --filter "publish=$port" --format '{{.Label "com.docker.compose.project"}} {{.Names}}' 2>/dev/null | head -n 1)
    if [ -n "$holder" ]; then
        say port "$port docker $holder"
        continue
    fi
    program=$(root ss -Hltnp "sport = :$port" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | head -n 1)
    if [ -z "$program" ] && [ -n "$(root ss -Hltn "sport = :$port" 2>/dev/null)" ]; then program='another program'; fi
    if [ -n "$program" ]; then say port "$port program $program"; fi
done
# Packages: where they come from, whether the last run of dpkg ended, whether a needed one is to be had.
if [ -n "$(root dpkg --audit 2>/dev/null)" ]; then say dpkg broken; fi
for name in curl cron nftables certbot; do
    candidate=$(apt-cache policy "$name" 2>/dev/null | sed -n 's/^ *Candidate: //p')
    case $candidate in '' | '(none)') say no_package "$name" ;; esac
done
newest=$(find /var/lib/apt/lists -maxdepth 1 -name '*Release' -printf '%T@\n' 2>/dev/null | sort -n | tail -n 1 | cut -d. -f1)
if [ -n "$newest" ]; then say apt_lists "$newest"; fi
# What the host itself can reach: names, and the certificate authority.
if have curl && [ -n "$ACME" ]; then
    say acme "$(curl -sk --max-time 8 -o /dev/null -w '%{http_code}' "$ACME" 2>/dev/null)"
fi
if have curl; then
    printf '%s\n' "$OUTSIDE" | while read -r name host port; do
        [ -n "$port" ] || continue
        code=0
        met=$(curl -s --noproxy '*' --connect-timeout 5 --max-time 6 -o /dev/null -w '%{time_connect}' "telnet://$host:$port" 2>/dev/null </dev/null) || code=$?
        case "$code $met" in
        '6 '*) say "outside $name" unresolved ;;
        '7 '*) say "outside $name" refused ;;
        *.*[1-9]*) say "outside $name" open ;;
        *) say "outside $name" silent ;;
        esac
    done
fi
address=$(getent ahosts "$DOMAIN" 2>/dev/null | awk '{ print $1 }' | sort -u | tr '\n' ' ')
say resolves "$address"
say end ok
