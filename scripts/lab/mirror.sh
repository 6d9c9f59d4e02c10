# shellcheck shell=bash disable=SC2034,SC2154 # names shared with the other files
# Where Debian packages come from: this machine's own apt sources, never a name written here.

# apt_uris: "URI SUITE" for each enabled binary source, from one-line and deb822 files.
apt_uris() {
    local files=()
    shopt -s nullglob
    files=(/etc/apt/sources.list /etc/apt/sources.list.d/*.list)
    [ ! -e "${files[0]}" ] && files=("${files[@]:1}")
    [ ${#files[@]} = 0 ] || sed -nE 's/^deb +(\[[^]]*\] +)?([^ ]+) +([^ ]+) .*/\2 \3/p' "${files[@]}"
    files=(/etc/apt/sources.list.d/*.sources)
    shopt -u nullglob
    [ ${#files[@]} = 0 ] || awk '
        function out(   i, j, nu, ns) {
            nu = split(uris, u, " "); ns = split(suites, s, " ")
            if (enabled && types ~ /(^| )deb( |$)/)
                for (i = 1; i <= nu; i++) for (j = 1; j <= ns; j++) print u[i], s[j]
            uris = suites = types = key = ""; enabled = 1
        }
        BEGIN { enabled = 1 }
        FNR == 1 && NR > 1 { out() }
        /^#/ { next }
        /^[ \t]*$/ { out(); next }
        /^[ \t]/ { v = $0 }
        /^[^ \t]/ { key = tolower($0); sub(/:.*/, "", key); v = $0; sub(/^[^:]*:/, "", v) }
        key == "uris" { uris = uris " " v }
        key == "suites" { suites = suites " " v }
        key == "types" { types = types " " v }
        key == "enabled" && v ~ /no/ { enabled = 0 }
        END { out() }' "${files[@]}"
}

# Sets MIRROR and SECURITY (may be empty).
find_mirror() {
    local list
    list=$(apt_uris | sed 's#/* # #')
    MIRROR=${FLEET_LAB_MIRROR:-$(awk '$2 ~ /^(bookworm|trixie|forky|sid|stable|testing|unstable|oldstable|bullseye)$/ {print $1; exit}' <<<"$list")}
    SECURITY=${FLEET_LAB_SECURITY_MIRROR:-$(awk '$2 ~ /^(bullseye|bookworm|trixie|forky|stable|oldstable)-security$/ {print $1; exit}' <<<"$list")}
    [ -n "$MIRROR" ] || die "no Debian mirror is known" \
        "this machine's apt sources name none (they may be another distribution's)" \
        "name one: FLEET_LAB_MIRROR=http://HOST/debian scripts/lab.sh up N"
}

mirror_has() {
    /usr/lib/apt/apt-helper download-file "$1/dists/$2/InRelease" "$LAB_DIR/log/InRelease.$2" >/dev/null 2>&1
}

# suite_sources SUITE: one-line apt sources of a suite, with updates and security where the mirror has them.
suite_sources() {
    mkdir -p "$LAB_DIR/log"
    mirror_has "$MIRROR" "$1" || die "no Debian $1 at $MIRROR" "its InRelease cannot be read" \
        "check the mirror, or name another: FLEET_LAB_MIRROR=http://HOST/debian"
    echo "deb $MIRROR $1 main"
    ! mirror_has "$MIRROR" "$1-updates" || echo "deb $MIRROR $1-updates main"
    [ -z "$SECURITY" ] || ! mirror_has "$SECURITY" "$1-security" || echo "deb $SECURITY $1-security main"
    rm -f "$LAB_DIR/log/InRelease.$1"*
}
