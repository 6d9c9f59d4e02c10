# shellcheck shell=sh
# What the containers of a stack say. A line of a container is "=CONTAINER SERVICE TIME TEXT"; one that is attached to
# is "+CONTAINER SERVICE NOW"; "." says that this script is alive. Set above: STACK; WANTED, services with a blank around
# each, one blank alone for all; FOLLOW, yes or no; first CONTAINER, the options of docker logs for it at first.
set -u
export LC_ALL=C

# Containers and their services.
list() {
    all=$(docker ps -a --filter "label=com.docker.compose.project=$STACK" --format '{{.ID}} {{.Label "com.docker.compose.service"}}') || return 1
    printf '%s\n' "$all" | while read -r id service; do
        case $WANTED in
        ' ' | *" $service "*) [ -z "$id" ] || printf '%s %s\n' "$id" "$service" ;;
        esac
    done
}

# Several write to one pipe: only what is shorter than PIPE_BUF is written in one piece.
pieces() {
    if [ "$FOLLOW" = yes ]; then stdbuf -oL fold -b -w 3900; else cat; fi
}

# say CONTAINER SERVICE OPTION...: until docker logs ends.
say() {
    say_id=$1 say_service=$2
    shift 2
    printf '+%s %s %s\n' "$say_id" "$say_service" "$(date +%s)"
    docker logs --timestamps "$@" "$say_id" 2>&1 </dev/null | pieces | sed -u "s/^/=$say_id $say_service /"
    # The last line may have no end.
    echo
}

# follow CONTAINER SERVICE OPTION...: through its stops and starts, until it is removed.
follow() {
    follow_id=$1 follow_service=$2
    shift 2
    say "$follow_id" "$follow_service" --follow "$@"
    while :; do
        # What comes twice is known by its time: the reader drops it.
        from=$(($(date +%s) - 2))
        while :; do
            if running=$(docker inspect -f '{{.State.Running}}' "$follow_id" 2>/dev/null </dev/null); then
                [ "$running" != true ] || break
            elif docker ps -q >/dev/null 2>&1 </dev/null; then
                return 0
            fi
            sleep 2
        done
        say "$follow_id" "$follow_service" --follow --since "$from"
    done
}

if [ "$FOLLOW" = no ]; then
    found=$(list) || exit 1
    [ -n "$found" ] || { echo 'no such container is there' >&2; exit 1; }
    printf '%s\n' "$found" | while read -r id service; do
        # shellcheck disable=SC2046
        say "$id" "$service" $(first "$id")
    done | sort -s -k 3,3
    exit
fi

# Whoever listened is gone when nothing can be written: all of this ends then.
trap 'exit 0' HUP INT PIPE TERM
trap 'trap "" TERM; kill 0' EXIT
known=' ' round=0
while :; do
    if found=$(list); then
        while read -r id service; do
            case $known in *" $id "*) continue ;; esac
            [ -n "$id" ] || continue
            known="$known$id "
            if [ $round = 0 ]; then
                # shellcheck disable=SC2046
                follow "$id" "$service" $(first "$id") &
            else
                follow "$id" "$service" &
            fi
        done <<LIST
$found
LIST
        round=1
    fi
    printf '.\n' 2>/dev/null || exit 0
    sleep 2
done
