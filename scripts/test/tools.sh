# shellcheck shell=bash
# What the tests need of the machine: looked for, installed where it is missing, and named.

TOOLS_DIR=$ROOT/target/test-tools

apt() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null; }

install_tools() {
    local want=() command package
    command -v cargo >/dev/null || {
        echo "test: cargo is missing; install a Rust toolchain: https://rustup.rs" >&2
        return 1
    }
    # Command, and the package that brings it.
    while read -r command package; do
        command -v "$command" >/dev/null || want+=("$package")
    done <<'LIST'
age age
restic restic
curl curl
rclone rclone
gcc gcc
openssl openssl
rsync rsync
shellcheck shellcheck
ssh openssh-client
ssh-keygen openssh-client
strace strace
python3 python3
LIST
    [ -x /usr/sbin/sshd ] || want+=(openssh-server)
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || want+=(postgresql)
    [ -e /usr/include/stdio.h ] || want+=(libc6-dev)
    /usr/bin/python3 -c 'import dotenv' 2>/dev/null || want+=(python3-dotenv)
    /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || want+=(python3-aiosmtpd)
    if [ ${#want[@]} -gt 0 ]; then
        echo "test: installing with apt-get: ${want[*]}"
        apt update
        # A server that comes with a package shall not start to listen on this machine.
        without_starting_services apt install --no-install-recommends "${want[@]}" >/dev/null
    fi
    echo "test: $(cargo --version), $(ssh -V 2>&1 | cut -d, -f1), $(rsync --version | sed -n '1s/  */ /gp'), $(strace -V | head -n 1)"
    system_python
    compose_program
    object_storage
    sentry_servers
}

# What is sent to Sentry is looked at in Kent, and read back from Bugsink; Sentry's own client speaks to the tests'
# stub of its API.
sentry_servers() {
    local venv=$TOOLS_DIR/kent client=$TOOLS_DIR/sentry-cli version=3.8.0 arch
    if ! "$venv/bin/kent-server" --help >/dev/null 2>&1; then
        echo "test: installing Kent from PyPI below target/"
        python3 -m venv --help >/dev/null 2>&1 || apt install --no-install-recommends python3-venv >/dev/null
        rm -rf "$venv"
        python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check kent==2.2.0
    fi
    if [ "$("$client/bin/sentry-cli" --version 2>/dev/null)" != "sentry-cli $version" ]; then
        case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
        echo "test: fetching sentry-cli from npm, unpacked below target/"
        rm -rf "$client" && mkdir -p "$client"
        command -v npm >/dev/null || apt install --no-install-recommends npm >/dev/null
        npm pack --silent --pack-destination "$client" "@sentry/cli-linux-$arch@$version" >/dev/null
        tar -xzf "$client"/*.tgz -C "$client" --strip-components=1
    fi
    echo "test: Kent $("$venv/bin/python" -c 'import kent; print(kent.__version__)'), $("$client/bin/sentry-cli" --version)"
    venv=$TOOLS_DIR/bugsink
    if [ ! -x "$venv/bin/bugsink-manage" ] || [ ! -x "$venv/bin/gunicorn" ]; then
        echo "test: installing Bugsink from PyPI below target/"
        rm -rf "$venv"
        python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check bugsink==2.6.1
    fi
    echo "test: $("$venv/bin/python" -c 'from importlib.metadata import version; print("Bugsink", version("bugsink"))')"
}

# A storage that speaks S3 (moto), in an environment of its own.
object_storage() {
    local venv=$TOOLS_DIR/moto
    if ! "$venv/bin/moto_server" --help >/dev/null 2>&1; then
        echo "test: installing moto's server from PyPI below target/"
        python3 -m venv --help >/dev/null 2>&1 || apt install --no-install-recommends python3-venv >/dev/null
        rm -rf "$venv"
        python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check 'moto[server]==5.2.5'
    fi
    echo "test: $("$venv/bin/python" -c 'import moto; print("moto", moto.__version__)')"
}

without_starting_services() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [ -e $policy ]; then "$@"; return; fi
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 0755 $policy
    "$@" || status=$?
    rm -f $policy
    return $status
}

# A python of another origin that comes first in PATH does not see Debian's packages.
system_python() {
    python3 -c 'import dotenv, aiosmtpd' 2>/dev/null && return
    mkdir -p "$TOOLS_DIR/bin"
    ln -sf /usr/bin/python3 "$TOOLS_DIR/bin/python3"
    export PATH=$TOOLS_DIR/bin:$PATH
    python3 -c 'import dotenv, aiosmtpd'
}

# Docker Compose of at least 2.20, as a program of its own: no engine is needed to read a file. Debian 12
# has none, so there the program is taken out of Debian 13's package, which asks for an older libc.
compose_program() {
    local program deb
    for program in "${FLEET_TEST_COMPOSE:-}" "$TOOLS_DIR/docker-compose" /usr/libexec/docker/cli-plugins/docker-compose \
        /usr/lib/docker/cli-plugins/docker-compose /usr/local/lib/docker/cli-plugins/docker-compose "$HOME/.docker/cli-plugins/docker-compose"; do
        if [ -n "$program" ] && compose_fits "$program"; then
            export FLEET_TEST_COMPOSE=$program
            echo "test: Docker Compose $("$program" version --short), $program"
            return
        fi
    done
    mkdir -p "$TOOLS_DIR"
    echo "test: fetching Docker Compose's package, unpacked below target/ and not installed"
    deb=$(compose_package) || {
        echo "test: no package of Docker Compose 2.20 or newer was found; set FLEET_TEST_COMPOSE to a docker-compose program" >&2
        return 1
    }
    rm -rf "$TOOLS_DIR/unpacked"
    dpkg-deb -x "$deb" "$TOOLS_DIR/unpacked"
    find "$TOOLS_DIR/unpacked" -path '*cli-plugins/docker-compose' -type f -exec mv {} "$TOOLS_DIR/docker-compose" \;
    rm -rf "$TOOLS_DIR/unpacked" "$deb"
    compose_fits "$TOOLS_DIR/docker-compose" || {
        echo "test: the packaged Docker Compose does not run here" >&2
        return 1
    }
    export FLEET_TEST_COMPOSE=$TOOLS_DIR/docker-compose
    echo "test: Docker Compose $("$FLEET_TEST_COMPOSE" version --short), $FLEET_TEST_COMPOSE"
}

compose_fits() {
    local version
    version=$("$1" version --short 2>/dev/null) || return 1
    version=${version#v}
    [ "$(printf '%s\n2.20\n' "$version" | sort -V | head -n 1)" = 2.20 ]
}

# Prints the path of a package that holds Compose 2: this system's own, else Debian 13's.
compose_package() {
    local folder=$TOOLS_DIR/apt name
    rm -rf "$folder"
    mkdir -p "$folder/lists/partial" "$folder/archives/partial"
    cd "$folder" || return 1
    [ -n "$(find /var/lib/apt/lists -name '*Packages*' -print -quit 2>/dev/null)" ] || apt update >&2
    for name in docker-compose-v2 docker-compose; do
        if apt-cache madison "$name" 2>/dev/null | awk -F'|' '{ sub(/^ *([0-9]+:)?/, "", $2); exit !($2 + 0 >= 2) }' &&
            [ -n "$(apt-cache madison "$name" 2>/dev/null)" ]; then
            apt download "$name" >&2 && find "$folder" -name '*.deb' && return
        fi
    done
    # shellcheck source=scripts/lab/mirror.sh
    . "$ROOT/scripts/lab/mirror.sh"
    find_mirror
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || apt install debian-archive-keyring >&2
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR trixie main" >sources.list
    local only=(-o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$folder/lists"
        -o "Dir::Cache=$folder" -o "Dir::Cache::Archives=$folder/archives" -o APT::Sandbox::User=root -o Acquire::Languages=none)
    apt "${only[@]}" update >&2 && apt "${only[@]}" download docker-compose >&2 && find "$folder" -name '*.deb'
}

# Every shell text of this repository, as shellcheck wants it, ended by NUL.
shell_scripts() {
    git ls-files -z -- '*.sh' | cat
    git ls-files -z -- .ci scripts templates tests | while IFS= read -r -d '' file; do
        case $file in *.sh) continue ;; esac
        ! head -n 1 "$file" | grep -aqE '^#!.*\b(sh|bash)\b' || printf '%s\0' "$file"
    done
}
