# shellcheck shell=bash disable=SC2034,SC2154 # names shared with the other files
# Faults that can be made on a host, and undone by `heal`.

FAULTS="down silent slow reboot disk-full cut apt-lock"
LOCK_FILE=/run/lab-apt-lock.pid
FULL_DISK=/run/lab-full-disk

# host_condition NAME: the container's state and the faults that lie on it.
host_condition() {
    local state words=
    state=$(host_state "$1")
    case $state in
    running) words=running ;;
    paused) words="silent (paused)" ;;
    *) words="down ($state)" ;;
    esac
    ! rules_present "$1" || words+=", cut"
    if [ "$state" = running ]; then
        ! tc qdisc show dev "$(host_link "$1")" 2>/dev/null | grep -q tbf || words+=", slow"
        inside "$1" test ! -e "$FULL_DISK.path" || words+=", disk full"
        inside "$1" test ! -e "$LOCK_FILE" || words+=", apt locked"
    fi
    echo "$words"
}

fault_host() {
    local name=$1 kind=$2 container
    shift 2
    container=$(host_container "$name")
    [ "$(host_state "$name")" = running ] ||
        die "$name is not running" "it is $(host_condition "$name")" "heal it first: scripts/lab.sh heal $name"
    case $kind in
    down) docker kill "$container" >/dev/null ;;
    silent) docker pause "$container" >/dev/null ;;
    reboot) docker restart -t 60 "$container" >/dev/null ;;
    slow) fault_slow "$name" "${1:-64kbit}" ;;
    cut) fault_cut "$name" ;;
    disk-full) fault_disk_full "$name" "${1:-/opt}" ;;
    apt-lock) fault_apt_lock "$name" "${1:-20}" ;;
    *) die "'$kind' is not a fault" "faults: $FAULTS" "see: scripts/lab.sh --help" ;;
    esac
}

heal_host() {
    local name=$1 container
    container=$(host_container "$name")
    rules_remove "$name"
    case $(host_state "$name") in
    paused) docker unpause "$container" >/dev/null ;;
    running) ;;
    *) docker start "$container" >/dev/null ;;
    esac
    heal_slow "$name"
    heal_apt_lock "$name"
    heal_disk_full "$name"
    host_wait "$name"
}

# --- cut: every packet from and to the host is dropped, in silence ---

# rules_of CHAIN NAME: the rules that cut this host, one a line; none is no error.
rules_of() { iptables -S "$1" | tr -d '"' | sed -nE "/--comment $LAB:$2( |\$)/p"; }
rules_present() { [ -n "$(rules_of INPUT "$1")" ]; }

fault_cut() {
    local address chain mark=(-m comment --comment "$LAB:$1" -j DROP)
    rules_remove "$1"
    address=$(host_address "$1")
    for chain in INPUT FORWARD; do iptables -I "$chain" -s "$address" "${mark[@]}"; done
    for chain in OUTPUT FORWARD; do iptables -I "$chain" -d "$address" "${mark[@]}"; done
}

rules_remove() {
    local chain rule
    for chain in INPUT OUTPUT FORWARD; do
        rules_of "$chain" "$1" | sed 's/^-A/-D/' | while IFS= read -r rule; do
            # shellcheck disable=SC2086 # a rule is words
            iptables $rule
        done
    done
}

# --- slow: a narrow link in both directions (there is no netem everywhere; tbf nearly is) ---

# host_link NAME: the machine's end of the host's cable.
host_link() {
    local index
    index=$(inside "$1" cat /sys/class/net/eth0/iflink 2>/dev/null) || return 1
    ip -o link | sed -nE "s/^$index: ([^@:]+).*/\1/p"
}

fault_slow() {
    heal_slow "$1"
    # Room for what goes out between two ticks of a fast one.
    local burst=1600 shape ok=yes
    [[ $2 != *mbit ]] || burst=64kb
    shape=(root tbf rate "$2" burst "$burst" latency 30s)
    tc qdisc add dev "$(host_link "$1")" "${shape[@]}" || ok=no
    nsenter -t "$(host_pid "$1")" -n -- tc qdisc add dev eth0 "${shape[@]}" || ok=no
    [ $ok = yes ] ||
        die "$1 cannot be slowed to '$2'" "tc refused the rate, or the kernel has no tbf" "give a rate as tc does: 64kbit, 1mbit"
}

heal_slow() {
    tc qdisc del dev "$(host_link "$1")" root 2>/dev/null || true
    nsenter -t "$(host_pid "$1")" -n -- tc qdisc del dev eth0 root 2>/dev/null || true
}

# --- apt-lock: the lock that apt itself takes, which is fcntl's and not flock's ---

fault_apt_lock() {
    heal_apt_lock "$1"
    # shellcheck disable=SC2016 # for perl
    inside "$1" setsid perl -e '
        my ($pidfile, $seconds) = @ARGV;
        exit if fork;
        open STDIN, "<", "/dev/null"; open STDOUT, ">", "/dev/null"; open STDERR, ">", "/dev/null";
        for my $name ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock") {
            open my $file, "+>>", $name or die; push @held, $file;
            my $whole = pack "s s x4 q q i x4", 1, 0, 0, 0, 0;
            fcntl $file, 6, $whole or die;  # F_SETLK with F_WRLCK
            flock $file, 6;                 # for those who look with flock(1)
        }
        open my $file, ">", $pidfile; print $file $$; close $file;
        sleep $seconds; unlink $pidfile;' "$LOCK_FILE" "$2"
    retry 5 inside "$1" test -s "$LOCK_FILE" || die "apt's lock could not be taken on $1" "apt may be running there" "try again"
}

heal_apt_lock() {
    # shellcheck disable=SC2016 # for the host's shell
    inside "$1" sh -c '[ ! -s "$1" ] || kill "$(cat "$1")" 2>/dev/null; rm -f "$1"' sh "$LOCK_FILE"
}

# --- disk-full: the folder moves onto a small filesystem that is then filled ---

fault_disk_full() {
    heal_disk_full "$1"
    # shellcheck disable=SC2016 # for the host's shell
    inside "$1" sh -ec '
        full=$1 path=$2
        mkdir -p "$path" "$full"
        used=$(du -sk "$path" | cut -f1)
        mount -t tmpfs -o "size=$((used * 11 / 10 + 256))k" lab-full-disk "$full"
        cp -a "$path/." "$full/"
        mount --move "$full" "$path"
        dd if=/dev/zero of="$path/.lab-fill" bs=4k 2>/dev/null || true
        echo "$path" >"$full.path"' sh "$FULL_DISK" "$2" ||
        die "$2 of $1 could not be filled" "its contents may not fit in memory" "choose a smaller folder: fault $1 disk-full FOLDER"
}

# What was written or removed meanwhile is carried back.
heal_disk_full() {
    # shellcheck disable=SC2016 # for the host's shell
    inside "$1" sh -ec '
        full=$1
        [ -s "$full.path" ] || exit 0
        path=$(cat "$full.path")
        rm -f "$full.path" "$path/.lab-fill"
        mkdir -p "$full.below"
        mount --bind / "$full.below"
        find "$full.below$path" -mindepth 1 -delete
        cp -a "$path/." "$full.below$path/"
        umount "$full.below"
        umount "$path" 2>/dev/null || umount -l "$path"
        rmdir "$full" "$full.below"' sh "$FULL_DISK"
}
