"""What one changed layer costs each host: fleet's build = "operator" beside docker save | ssh docker load.

ship.py FLEET DIRECTORY: the directory is one of the stack tests/apps/shop whose clients serve. Bytes are those that
the hosts' own network cards received, so everything counts: logins, the source, the files of the release.
"""

import datetime
import json
import os
import pathlib
import subprocess
import sys
import time

fleet, home = sys.argv[1], pathlib.Path(sys.argv[2])
LAYER = 2_000_000
CARD = "/sys/class/net/eth0/statistics/rx_bytes"


def run(*words, **more):
    done = subprocess.run([fleet, "-C", home, *words], capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"fleet {' '.join(words)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def received():
    lines = run("exec", "--all", "--json", "--", "cat", CARD).splitlines()
    return {line["client"]: int(line["stdout"]) for line in map(json.loads, lines)}


def measure(name, work):
    before, began = received(), time.monotonic()
    work()
    wall, after = time.monotonic() - began, received()
    sums = [after[client] - before[client] for client in before]
    return {"name": name, "hosts": len(sums), "bytes": sum(sums), "each": sum(sums) // len(sums), "wall": wall}


def change():
    (home / "app/api/layer.bin").write_bytes(os.urandom(LAYER))


def update():
    run("update", "--all", "--batch", "100%", "--yes")


def main():
    clients = [json.loads(line) for line in run("list", "--json").splitlines()]
    dockerfile = home / "app/api/Dockerfile"
    plain = dockerfile.read_text()
    dockerfile.write_text(plain.replace("EXPOSE 8000", "COPY layer.bin ./\nEXPOSE 8000"))
    rows = []
    try:
        change()
        update()
        rows.append(measure("fleet update, nothing changed", update))
        change()
        rows.append(measure(f"fleet update, one layer of {LAYER / 1e6:.0f} MB changed", update))
        image = subprocess.run(
            ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "fleet-built/shop/api"],
            capture_output=True, text=True, check=True).stdout.split()[0]
        ssh = f"ssh -i {home}/keys/fleet_ed25519 -o IdentitiesOnly=yes -o UserKnownHostsFile={home}/known_hosts"
        for name, send, take in (
            ("docker save | ssh docker load", "cat", "cat"),
            ("the same through gzip", "gzip -c", "gunzip -c"),
        ):
            def each():
                lines = [f"docker save {image} | {send} | {ssh} {c['user']}@{c['address']} '{take} | sudo docker load' >/dev/null" for c in clients]
                jobs = [subprocess.Popen(["bash", "-o", "pipefail", "-c", line]) for line in lines]
                if any([job.wait() for job in jobs]):
                    sys.exit(f"{name} failed")
            rows.append(measure(name, each))
        run("exec", "--all", "--", "sudo", "docker", "image", "rm", image)
    finally:
        dockerfile.write_text(plain)
        (home / "app/api/layer.bin").unlink(missing_ok=True)
    update()
    ours = rows[1]
    print(f"\n{datetime.date.today().isoformat()}, {ours['hosts']} hosts, {os.cpu_count()} processors for all of them\n")
    print("| way | bytes to each host | of ours | wall s |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['name']} | {row['each']:,} | {row['each'] / ours['each']:.1f} | {row['wall']:.1f} |")


main()
