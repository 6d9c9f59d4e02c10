# shellcheck shell=bash disable=SC2034,SC2154 # names shared with the other files
# Images, all made from Debian packages (no image can be pulled on a closed machine) and kept in
# the cache under a key of their recipe: a changed recipe or mirror is rebuilt, nothing else is.
#
#   base-SUITE.tar     mmdebstrap's minimal Debian, what every image starts from
#   vps-SUITE.tar      a bare VPS                        (docker save)
#   infra.tar          the lab's services                (docker save)
#   registry/          the mirror's storage, filled with MIRROR_IMAGES under their Docker Hub names

# recipe folder = name on Docker Hub
MIRROR_IMAGES=(
    debian=debian:trixie-slim
    nginx=nginx:1.28
    postgres=postgres:17
    redis=redis:8
    python=python:3.13-slim
    node=node:20-slim
)

# shellcheck disable=SC2016 # the hook is for mmdebstrap's shell
BASE_OPTIONS=(
    --mode=root --variant=minbase --quiet --skip=cleanup/reproducible --include=ca-certificates
    --dpkgopt=force-unsafe-io
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*'
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright'
    --dpkgopt='path-exclude=/usr/share/locale/*'
    --aptopt='Acquire::Languages "none"'
    --customize-hook='mv "$1"/etc/apt/sources.list.d/0000*.list "$1/etc/apt/sources.list"'
)

suite_of() { case $1 in 13) echo trixie ;; 12) echo bookworm ;; esac; }

# recipe_key BASE_KEY FOLDER: what an image is made of.
recipe_key() {
    { echo "$1"; (cd "$RECIPES/$2" && find . -type f | LC_ALL=C sort | xargs sha256sum); } | sha256sum | cut -c1-12
}

base_key() { cat "$LAB_CACHE/base-$1.key" 2>/dev/null; }

# ensure_base SUITE: the tarball, and the image fleet-lab/base:KEY when something must be built from it.
ensure_base() {
    local suite=$1 sources key tar=$LAB_CACHE/base-$1.tar
    sources=$(suite_sources "$suite") || return 1
    key=$(printf '%s\n' "$suite" "$sources" "${BASE_OPTIONS[@]}" | sha256sum | cut -c1-12)
    if [ "$(base_key "$suite")" != "$key" ] || [ ! -e "$tar" ]; then
        rm -f "$tar" "$LAB_CACHE/base-$suite.key"
        echo "$sources" >"$LAB_CACHE/base-$suite.list"
        # A mount namespace of its own: were it killed, no mount would be left on this machine.
        TMPDIR=$(mktemp -d "/tmp/$LAB-base.XXXXXX") && chmod 0755 "$TMPDIR" && export TMPDIR
        quiet "base-$suite.log" unshare -m mmdebstrap "${BASE_OPTIONS[@]}" --format=tar "$suite" "$tar.tmp" "$LAB_CACHE/base-$suite.list" ||
            die "mmdebstrap of $suite failed" "its log is $LAB_DIR/log/base-$suite.log" "check the mirror $MIRROR, then run the lab again"
        rm -rf "$TMPDIR"
        mv "$tar.tmp" "$tar"
        echo "$key" >"$LAB_CACHE/base-$suite.key"
        echo built >>"$LAB_DIR/log/base.did"
    fi
}

ensure_bases() {
    local pids=() suite
    rm -rf "$LAB_DIR/log/base.did" "/tmp/$LAB-base".*
    for suite; do
        ensure_base "$suite" &
        pids+=($!)
    done
    all "${pids[@]}" || exit 1
    STAGE_NOTE="cached: $*"
    [ ! -e "$LAB_DIR/log/base.did" ] || STAGE_NOTE="built $*"
}

# base_image SUITE: loads the base into the engine when it is not there; prints its name.
base_image() {
    local image
    image=fleet-lab/base:$(base_key "$1")
    docker image inspect "$image" >/dev/null 2>&1 || docker import "$LAB_CACHE/base-$1.tar" "$image" >/dev/null
    echo "$image"
}

# build_image FOLDER SUITE IMAGE: the classic builder, which every engine has without a plugin.
build_image() {
    local base
    base=$(base_image "$2")
    DOCKER_BUILDKIT=0 quiet "build-$1-$2.log" docker build --force-rm --network host --label fleet-lab-image=1 \
        --build-arg "BASE=$base" -t "$3" "$RECIPES/$1" ||
        die "building the image of $1 failed" "its log is $LAB_DIR/log/build-$1-$2.log" "mend what it says, then run the lab again"
}

# ensure_image FOLDER SUITE ARCHIVE: in the engine, from the cache, or built. Prints what it did.
ensure_image() {
    local key image archive=$LAB_CACHE/$3.tar
    key=$(recipe_key "$(base_key "$2")" "$1")
    image=fleet-lab/$3:$key
    docker image inspect "$image" >/dev/null 2>&1 && [ -e "$archive" ] && return
    if [ "$(cat "$LAB_CACHE/$3.key" 2>/dev/null)" = "$key" ] && docker load -qi "$archive" >/dev/null 2>&1; then
        echo "loaded $3"
        return
    fi
    build_image "$1" "$2" "$image"
    docker save -o "$archive.tmp" "$image"
    mv "$archive.tmp" "$archive"
    echo "$key" >"$LAB_CACHE/$3.key"
    echo "built $3"
}

image_name() { echo "fleet-lab/$1:$(cat "$LAB_CACHE/$1.key")"; }

# ensure_lab_images SUITE...: the services and one VPS image per suite.
ensure_lab_images() {
    local pids=() suite did=$LAB_DIR/log/images.did
    : >"$did"
    ensure_image infra trixie infra >>"$did" &
    pids+=($!)
    for suite; do
        ensure_image vps "$suite" "vps-$suite" >>"$did" &
        pids+=($!)
    done
    all "${pids[@]}" || exit 1
    STAGE_NOTE=$(paste -sd, "$did")
    STAGE_NOTE=${STAGE_NOTE:-all present}
}

# fill_mirror: every missing image is built and pushed to the registry, through a loopback port
# because the engine accepts plain HTTP there without being configured.
fill_mirror() {
    local entry folder name key running=0 pids=() port did=$LAB_DIR/log/mirror.did
    : >"$did"
    port=$(docker port "$INFRA" 5000/tcp | sed -n 's/^127\.0\.0\.1://p')
    mkdir -p "$LAB_CACHE/mirror"
    for entry in "${MIRROR_IMAGES[@]}"; do
        folder=${entry%%=*} name=${entry#*=}
        key=$(recipe_key "$(base_key trixie)" "$folder")
        [ "$(cat "$LAB_CACHE/mirror/$folder.key" 2>/dev/null)" != "$key" ] || ! mirror_holds "$name" || continue
        {
            build_image "$folder" trixie "fleet-lab/$name"
            docker tag "fleet-lab/$name" "127.0.0.1:$port/library/$name"
            quiet "push-$folder.log" docker push "127.0.0.1:$port/library/$name" ||
                die "pushing $name to the registry mirror failed" "its log is $LAB_DIR/log/push-$folder.log" "run the lab again"
            docker rmi "127.0.0.1:$port/library/$name" >/dev/null
            echo "$key" >"$LAB_CACHE/mirror/$folder.key"
            echo "$name" >>"$did"
        } &
        pids+=($!)
        running=$((running + 1))
        [ $((running % 2)) != 0 ] || wait -n || true # two at a time: the third waits for one of them
    done
    all "${pids[@]}" || exit 1
    STAGE_NOTE="cached: ${#MIRROR_IMAGES[@]} images"
    [ ! -s "$did" ] || STAGE_NOTE="built $(paste -sd' ' "$did")"
}

mirror_holds() {
    docker exec "$INFRA" curl -fsS -o /dev/null -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
        "http://127.0.0.1:5000/v2/library/${1%:*}/manifests/${1#*:}" 2>/dev/null
}

# The last lab's `down` takes the images out of the engine; the cache keeps their archives.
images_remove() {
    local ids
    [ -z "$(docker ps -aq --filter label=fleet-lab)" ] || return 0
    ids=$(docker images --format '{{.Repository}}:{{.Tag}}' 'fleet-lab/*')
    # shellcheck disable=SC2086 # names are words
    [ -z "$ids" ] || docker rmi -f $ids >/dev/null 2>&1 || true
    docker image prune -f --filter label=fleet-lab-image=1 >/dev/null
}
