"""What a backup costs: fleet beside `ssh pg_dump | zstd > file` and beside restic fed over the same ssh.

backup.py FLEET DIRECTORY CLIENT: a client of the stack geoclic that serves. Its database is filled up to 1 GB and its
volume of photos with 5,000 files; both stay. Bytes sent are those of the host's own network card. Over a link of
100 Mbit/s: `scripts/lab.sh fault CLIENT slow 100mbit` first.
"""

import datetime
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

fleet, home, client = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), sys.argv[3]
GIGABYTE = int(os.environ.get("BENCH_BYTES", 1_000_000_000))
FILES = int(os.environ.get("BENCH_FILES", 5_000))
CARD = "/sys/class/net/eth0/statistics/tx_bytes"
PSQL = "docker exec -i geoclic-database-1 psql -U geoclic -d geoclic -XAtq -v ON_ERROR_STOP=1"
PACKED = " | zstd -q -1"
DUMP = "docker exec geoclic-database-1 pg_dump -U geoclic -d geoclic -Fc -Z0"


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def host(script):
    return run(fleet, "-C", home, "exec", client, "--stdin", "--", "sudo", "bash", "-s", input=script, timeout=3600)


def sent():
    line = run(fleet, "-C", home, "exec", client, "--json", "--", "cat", CARD).splitlines()[-1]
    return int(json.loads(line)["stdout"])


def size(path):
    return sum(entry.stat().st_size for entry in pathlib.Path(path).rglob("*") if entry.is_file())


def fill():
    host(f"""set -eu
{PSQL} <<'SQL'
create table if not exists bench (id bigserial primary key, at timestamptz default now(), body text);
do $$ begin
    while pg_database_size(current_database()) < {GIGABYTE} loop
        insert into bench (body) select md5(random()::text) || repeat(md5(i::text), 6) from generate_series(1, 100000) i;
    end loop;
end $$;
SQL
photos=$(docker volume inspect -f '{{{{.Mountpoint}}}}' geoclic_photos)
mkdir -p "$photos/bench"
for i in $(seq {FILES}); do [ -e "$photos/bench/$i.jpg" ] || head -c 40000 /dev/urandom >"$photos/bench/$i.jpg"; done
""")


def change():
    """What a day brings: new rows, changes in the newest ones, some files."""
    host(f"""set -eu
{PSQL} <<'SQL'
insert into bench (body) select md5(random()::text) || repeat(md5(i::text), 6) from generate_series(1, 20000) i;
update bench set at = now() where id > (select max(id) - 100000 from bench) and id % 20 = 0;
SQL
photos=$(docker volume inspect -f '{{{{.Mountpoint}}}}' geoclic_photos)
for i in $(seq 30); do head -c 40000 /dev/urandom >"$photos/bench/$i.jpg"; done
""")


def main():
    [record] = [json.loads(line) for line in run(fleet, "-C", home, "show", client, "--json").splitlines()][:1]
    ssh = (f"ssh -i {home}/keys/fleet_ed25519 -o IdentitiesOnly=yes -o UserKnownHostsFile={home}/known_hosts"
           f" -p {record['port']} {record['user']}@{record['address']}")
    dump = f"sudo {DUMP}"
    tar = "sudo tar -C $(sudo docker volume inspect -f '{{.Mountpoint}}' geoclic_photos) -cf - ."
    fill()
    rows = []
    with tempfile.TemporaryDirectory(dir=home) as folder:
        store = pathlib.Path(folder)
        repository = run(fleet, "-C", home, "backup", client, "--dry-run", "--json")
        ours = pathlib.Path(home, json.loads(repository)["repository"])
        if ours.exists():
            sys.exit(f"{client} has backups already, so none would be its first: remove {ours}")
        restic = dict(os.environ, RESTIC_PASSWORD="bench", RESTIC_REPOSITORY=str(store / "restic"))
        (store / "plain").mkdir()
        if shutil.which("restic"):
            run("restic", "--no-cache", "init", env=restic)

        def plain(turn):
            bash(f"{ssh} {shlex.quote(dump)} | zstd -q -3 >{store}/plain/dump-{turn}.zst; {ssh} {shlex.quote(tar)} | zstd -q -3 >{store}/plain/files-{turn}.zst")

        def with_restic(_):
            bash(f"{ssh} {shlex.quote(dump + PACKED)} | zstd -d | restic --no-cache -q backup --stdin --stdin-filename dump;"
                 f" {ssh} {shlex.quote(tar + PACKED)} | zstd -d | restic --no-cache -q backup --stdin --stdin-filename files.tar", restic)

        def bash(line, env=None):
            run("bash", "-e", "-o", "pipefail", "-c", line, env=env, timeout=7200)

        ways = [("fleet backup", lambda _: run(fleet, "-C", home, "backup", client), ours),
                ("ssh pg_dump | zstd, ssh tar | zstd", plain, store / "plain")]
        if shutil.which("restic"):
            ways.append(("the same into restic --stdin", with_restic, store / "restic"))
        for turn, when in enumerate(("first", "second")):
            if turn:
                change()
            for name, work, place in ways:
                before, grown, began = sent(), size(place) if place.exists() else 0, time.monotonic()
                work(turn)
                wall = time.monotonic() - began
                rows.append((name, when, wall, sent() - before, size(place) - grown))
    print(f"\n{datetime.date.today().isoformat()}, {os.cpu_count()} processors for client and server together\n")
    print("| way | run | time | sent by the host | storage grew |\n|---|---|---|---|---|")
    for name, when, wall, wire, grown in rows:
        print(f"| {name} | {when} | {wall:.1f} s | {wire / 1e6:.0f} MB | {grown / 1e6:.0f} MB |")


main()
