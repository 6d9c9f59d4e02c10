"""Runs everything side by side and prints the tables; `scripts/bench.sh` prepares what it needs."""

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hosts import FIRST, PORT, Hosts, address

# No single run may take longer.
LIMIT = 150
RTT = 0.05
FILES = 2000
PLAIN = """name = "plain"
description = "one service"

[[files]]
template = "compose.tera"
destination = "docker-compose.yml"

[services.web]
"""


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--release", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--hosts", default="")
    parser.add_argument("--only", default="cold true status sync trips")
    args = parser.parse_args()
    default = "1 10 100" if args.quick else "1 10 100 400 1000"
    args.counts = sorted(int(n) for n in (args.hosts or default).split())
    if any(not 0 < n <= 2000 for n in args.counts):
        sys.exit("--hosts takes numbers from 1 to 2000")
    return args


def run(command, env=None):
    """Wall and processor seconds of a command and all its children; fails loudly."""
    began = time.perf_counter()
    child = subprocess.Popen(
        [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, env=env, start_new_session=True,
    )
    try:
        usage, status = wait(child)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        child.wait()
        return None
    wall = time.perf_counter() - began
    if status != 0:
        print(f"  failed ({status}): {' '.join(map(str, command))[:150]}\n  {child.told[-300:]}", file=sys.stderr)
        return None
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime}


def wait(child):
    """wait4 with a time limit, its complaints read meanwhile."""
    import threading

    def read():
        child.told = child.stderr.read().decode(errors="replace")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    deadline = time.monotonic() + LIMIT
    pause = 0.0005
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > deadline:
            raise subprocess.TimeoutExpired(child.args, LIMIT)
        time.sleep(pause)
        pause = min(pause * 1.2, 0.01)
    child.returncode = os.waitstatus_to_exitcode(status)
    reader.join(1)
    return usage, child.returncode


def memory(command, env=None):
    """Highest sum of the proportional set sizes of all processes of a command, in MB."""
    child = subprocess.Popen(
        [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env=env, start_new_session=True,
    )
    peak, deadline = 0, time.monotonic() + LIMIT
    while child.poll() is None:
        total, todo = 0, [child.pid]
        while todo:
            pid = todo.pop()
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    todo += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
            except (OSError, StopIteration):
                pass
        peak = max(peak, total)
        if time.monotonic() > deadline:
            os.killpg(child.pid, 9)
        time.sleep(0.02)
    return peak / 1024


class Bench:
    def __init__(self, args, hosts, folder):
        self.args, self.hosts, self.folder = args, hosts, folder
        self.fleet = args.release / "fleet"
        self.tool = args.release / "examples" / "bench-hosts"
        self.results = []
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "USER": os.environ.get("USER", "root")}
        self.env |= {
            "ANSIBLE_HOST_KEY_CHECKING": "1", "ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            "ANSIBLE_SSH_ARGS": f"-F {folder}/ssh_config -o ControlMaster=no",
        }
        self.has_exec = subprocess.run([self.fleet, "exec", "--help"], capture_output=True).returncode == 0

    def sample(self, command):
        self.hosts.settle()
        cpu, seen = self.hosts.cpu(), self.hosts.connections()
        one = run(command, self.env)
        if one is None:
            return None
        self.hosts.settle()
        return one | {"server": self.hosts.cpu() - cpu, "connections": self.hosts.connections() - seen}

    def measure(self, part, name, count, command, runs=1, mem=False):
        samples = [self.sample(command) for _ in range(runs)]
        if None in samples:
            return
        self.keep(part, name, count, samples, memory(command, self.env) if mem else None)

    def keep(self, part, name, count, samples, peak=None):
        row = {key: statistics.median(s[key] for s in samples) for key in samples[0]}
        row |= {"part": part, "name": name, "hosts": count, "runs": len(samples)}
        if peak is not None:
            row["memory"] = peak
        self.results.append(row)
        line = f"  {part} {name:28} {count:5}  wall {row['wall']:7.2f}  cpu {row['cpu']:7.2f}  server {row['server']:6.2f}"
        print(line + f"  connections {row['connections']:g}" + (f"  memory {peak:.0f} MB" if peak is not None else ""), flush=True)

    def directory(self, count, port=PORT):
        """A fleet directory with so many clients."""
        home = self.folder / f"fleet{count}-{port}"
        (home / "keys").mkdir(parents=True)
        text = f'[fleet]\nname = "bench"\nstack = "geoclic"\nsource = "."\nconnect_timeout = "30s"\n\n[defaults]\nuser = "{self.env["USER"]}"\nport = {port}\nemail = "ops@example.org"\n'
        for i in range(count):
            text += f'\n[clients.c{i}]\ndomain = "c{i}.example.org"\nip = "{address(i)}"\ntags = ["prod"]\n'
        (home / "clients.toml").write_text(text)
        shutil.copy(self.folder / "known_hosts", home / "known_hosts")
        for end in ("", ".pub"):
            shutil.copy(self.folder / f"key{end}", home / "keys" / f"fleet_ed25519{end}")
        return home

    def lists(self, count):
        names = self.folder / f"hosts{count}"
        names.write_text("".join(f"{a}\n" for a in self.hosts.addresses[:count]))
        data = {"ssh_port": PORT, "ssh_user": self.env["USER"], "ssh_key": f"{self.folder}/key"}
        data |= {"ssh_known_hosts_file": f"{self.folder}/known_hosts", "ssh_strict_host_key_checking": "yes"}
        inventory = self.folder / f"inventory{count}.py"
        inventory.write_text(f"hosts = [(a, {data!r}) for a in {self.hosts.addresses[:count]!r}]\n")
        return names, inventory

    def peers(self, count, names, inventory):
        config = f"{self.folder}/ssh_config"
        ssh = ["xargs", "-a", names, "-P", "64", "-I{}", "ssh", "-F", config]
        yield "xargs -P64 ssh", [*ssh, "{}", "true"]
        yield "xargs -P64 ssh, curve25519", [*ssh, "-o", "KexAlgorithms=curve25519-sha256", "{}", "true"]
        if shutil.which("parallel-ssh"):
            yield "pssh -p 64", ["parallel-ssh", "-h", names, "-p", "64", "-t", "0", "-x", f"-F {config}", "true"]
        if shutil.which("clush"):
            yield "clush -f 64", ["clush", "--hostfile", names, "-f", "64", "-o", f"-F {config}", "true"]
        pyinfra = self.args.out / "venv" / "bin" / "pyinfra"
        if pyinfra.exists():
            yield "pyinfra exec", [pyinfra, "-y", inventory, "exec", "--", "true"]
        if shutil.which("ansible") and count <= 400:
            yield "ansible raw -f 64", ["ansible", "all", "-i", names, "-f", "64", "-m", "raw", "-a", "true"]

    def true(self):
        for count in self.args.counts:
            runs = 1 if self.args.quick or count > 100 else 3
            mem = count >= 100
            home, (names, inventory) = self.directory(count), self.lists(count)
            own = ["-C", home, "--all"]
            if self.has_exec:
                self.measure("true", "fleet exec", count, [self.fleet, "exec", *own, "--", "true"], runs, mem)
            else:
                self.measure("true", "fleet test-ssh", count, [self.fleet, "test-ssh", *own], runs, mem)
            tool = [self.tool, self.folder, FIRST, count, PORT]
            self.measure("true", "fleet's transport", count, [*tool, "native", "true"], runs, mem)
            if count <= 100:
                self.measure("true", "fleet's transport openssh", count, [*tool, "openssh", "true"], runs, mem)
            for name, command in self.peers(count, names, inventory):
                # A run of its own; from 400 hosts on it would only repeat what 100 tell of 64 processes.
                self.measure("true", name, count, command, runs, mem and (count == 100 or "pyinfra" in name))

    def status(self):
        script = self.folder / "probe.sh"
        script.write_bytes(subprocess.run([self.tool, "probe"], capture_output=True, check=True).stdout)
        for count in self.args.counts:
            names, _ = self.lists(count)
            home = self.folder / f"fleet{count}-{PORT}"
            home = home if home.exists() else self.directory(count)
            # It ends with 1: the simulated hosts are bare. That is an answer.
            status = ["sh", "-c", f"{self.fleet} -C {home} status > /dev/null; [ $? -le 1 ]"]
            self.measure("status", "fleet status", count, status, 1, count >= 100)
            line = f"ssh -F {self.folder}/ssh_config {{}} sh -s < {script}"
            self.measure("status", "xargs ssh, same script", count, ["xargs", "-a", names, "-P", "64", "-I{}", "sh", "-c", line])

    def tree(self):
        source = self.folder / "tree"
        for i in range(FILES):
            file = source / f"d{i % 40}" / f"f{i}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"value_{i}_{j} = {i * j % 977}\n" for j in range(i % 1000)))
        return source

    def sync(self):
        """One tree to many hosts. All write to this machine's memory: a disk that they share would be measured instead,
        and whoever comes first finds it idle. For the same reason they take turns."""
        count = min(10 if self.args.quick else 50, max(self.args.counts))
        source, names = self.tree(), self.lists(count)[0]
        config = f"{self.folder}/ssh_config"
        ways = {
            "fleet": [self.tool, self.folder, FIRST, count, PORT, "native", "push", source],
            "xargs -P64 rsync": f"rsync -rlptz --delete -e 'ssh -F {config}'",
            "xargs rsync, warm master": f"rsync -rlptz --delete -e 'ssh -F {config} -S {self.folder}/m-%h'",
        }
        masters = []
        for host in self.hosts.addresses[:count]:
            words = ["ssh", "-F", config, "-M", "-N", "-S", f"{self.folder}/m-{host}", host]
            masters.append(subprocess.Popen(words, stdin=subprocess.DEVNULL))
        while not all((self.folder / f"m-{host}").exists() for host in self.hosts.addresses[:count]):
            time.sleep(0.05)
        idle = len(masters)
        self.hosts.settle = lambda: self.hosts.settle_to(idle)
        with tempfile.TemporaryDirectory(prefix="fleet-bench-", dir="/dev/shm") as memory_folder:
            commands = {}
            for name, way in ways.items():
                target = Path(memory_folder) / name.replace(" ", "_").replace(",", "")
                if name == "fleet":
                    commands[name] = ([*way, target], [target / str(i) for i in range(count)])
                else:
                    line = f"{way} {source}/ {{}}:{target}/{{}}/"
                    command = ["xargs", "-a", names, "-P", "64", "-I{}", "sh", "-c", line]
                    commands[name] = (command, [target / host for host in self.hosts.addresses[:count]])

            def empty():
                for _, folders in commands.values():
                    for folder in folders:
                        shutil.rmtree(folder, ignore_errors=True)
                        folder.mkdir(parents=True)

            def change():
                (source / "d1" / "f1.py").write_text(f"changed = {time.time_ns()}\n")

            before = {"first sync": empty, "no change": lambda: None, "one file changed": change}
            for what, prepare in before.items():
                self.turns(what, count, {name: command for name, (command, _) in commands.items()}, prepare)
        for master in masters:
            master.terminate()
        for master in masters:
            master.wait()
        del self.hosts.settle

    def turns(self, part, count, commands, prepare):
        """Measures commands in turn, three rounds, and keeps the medians."""
        samples = {name: [] for name in commands}
        for _ in range(3):
            prepare()
            for name, command in commands.items():
                one = self.sample(command)
                if one:
                    samples[name].append(one)
        for name, found in samples.items():
            if found:
                self.keep(part, name, count, found)

    def cold(self):
        home = self.folder / "ten-thousand"
        home.mkdir()
        text = '[fleet]\nname = "bench"\nstack = "geoclic"\nsource = "."\n\n[defaults]\nuser = "ubuntu"\nemail = "ops@example.org"\n'
        inventory = "[all]\n"
        for i in range(10_000):
            text += f'\n[clients.c{i}]\ndomain = "c{i}.example.org"\nip = "10.{i >> 16}.{(i >> 8) & 255}.{i & 255}"\ntags = ["prod"]\nenv = {{ PUBLIC_NAME = "Client {i}" }}\n'
            inventory += f"c{i} ansible_host=10.0.{(i >> 8) & 255}.{i & 255}\n"
        (home / "clients.toml").write_text(text)
        (home / "inventory").write_text(inventory)
        commands = [
            ("--version", "fleet", [self.fleet, "--version"], 21),
            ("list of 10,000", "fleet list", [self.fleet, "-C", home, "list"], 5),
            ("list of 10,000", "fleet list --json", [self.fleet, "-C", home, "list", "--json"], 5),
        ]
        if shutil.which("ansible"):
            commands.append(("--version", "ansible", ["ansible", "--version"], 3))
            commands.append(("list of 10,000", "ansible --list-hosts", ["ansible", "all", "-i", home / "inventory", "--list-hosts"], 1))
        if (self.args.out / "venv/bin/pyinfra").exists():
            commands.append(("--version", "pyinfra", [self.args.out / "venv/bin/pyinfra", "--version"], 3))
        for part, name, command, runs in commands:
            samples = [run(command, self.env) for _ in range(runs)]
            if None in samples:
                continue
            row = {key: statistics.median(s[key] for s in samples) for key in samples[0]}
            self.results.append(row | {"part": part, "name": name, "hosts": 0, "runs": runs})
            print(f"  {part} {name:28} wall {row['wall'] * 1000:7.1f} ms  cpu {row['cpu'] * 1000:7.1f} ms", flush=True)

    def trips(self):
        """How often each waits for the host, counted by a proxy that is 50 ms of round trip away. TCP's own handshake,
        one more, is not seen there; the goodbye, for which nobody waits, is."""
        told = self.folder / "turns"
        far = subprocess.Popen([sys.executable, Path(__file__).parent / "hosts.py", str(RTT / 2), told])
        try:
            time.sleep(1)
            home = self.directory(1, PORT + 1)
            config = f"{self.folder}/ssh_config"
            source = self.folder / "tree"
            source = source if source.exists() else self.tree()
            (self.folder / "trips" / "0").mkdir(parents=True)
            # The look at a host that `update` plans from; a host with nothing to do costs no more than that.
            plain = self.folder / "plain"
            shutil.copytree(home, plain)
            registry = (plain / "clients.toml").read_text()
            (plain / "clients.toml").write_text(registry.replace('"geoclic"\nsource = "."', '"stacks/plain"'))
            (plain / "stacks" / "plain").mkdir(parents=True)
            (plain / "stacks" / "plain" / "stack.toml").write_text(PLAIN)
            (plain / "stacks" / "plain" / "compose.tera").write_text("services:\n  web:\n    image: nginx:1.28\n")
            tool = [self.tool, self.folder, FIRST, 1, PORT + 1]
            ways = {
                "login alone: fleet": [*tool, "native", "login"],
                "true: fleet": [*tool, "native", "true"],
                "true: fleet over openssh": [*tool, "openssh", "true"],
                "true: ssh": ["ssh", "-F", config, "-p", PORT + 1, address(0), "true"],
                "status: fleet": ["sh", "-c", f"{self.fleet} -C {home} status >/dev/null; [ $? -le 1 ]"],
                # It ends with 3: the simulated host was never provisioned, which the look tells.
                "update with nothing to do: fleet": [
                    "sh", "-c", f"{self.fleet} -C {plain} update --all --dry-run >/dev/null; [ $? -eq 3 ]"],
                "no-op sync: fleet": [*tool, "native", "push", source, self.folder / "trips"],
                "no-op sync: rsync -e ssh": [
                    "rsync", "-rlpt", "-e", f"ssh -F {config} -p {PORT + 1}", f"{source}/", f"{address(0)}:{self.folder}/trips/0/"],
            }
            # Something must be there for a no-op.
            run(ways["no-op sync: fleet"], self.env)
            login = None
            for name, command in ways.items():
                counts = []
                # A machine that is busy can only add to it.
                for _ in range(3):
                    told.write_text("")
                    if run(command, self.env) is None:
                        break
                    time.sleep(0.3)
                    counts.append(sum(map(int, told.read_text().split())))
                if not counts:
                    continue
                turns = min(counts)
                login = turns if login is None else login
                row = {"part": "round trips", "name": name, "hosts": 1, "trips": turns, "after_login": turns - login}
                # Others log in otherwise; their whole is what counts.
                if "ssh" in name:
                    del row["after_login"]
                self.results.append(row)
                print(f"  round trips {name:40} {turns:3}  after login {row.get('after_login', '')}", flush=True)
        finally:
            far.terminate()
            far.wait()


def report(bench, machine):
    cores = machine["processors"]
    print(f"\n{machine['date']}, {cores} processors ({machine['cpu']}), {machine['ssh']}, load before {machine['load']}")
    for part in dict.fromkeys(row["part"] for row in bench.results if "wall" in row and row["hosts"]):
        print(f"\n| {part} | hosts | wall s | of ours | client CPU, ms a host | servers' CPU / processors | memory MB | connections a host |\n|---|---|---|---|---|---|---|---|")
        rows = [row for row in bench.results if row["part"] == part]
        # Nobody can be faster than the servers' own work for the leanest of them, spread over all processors.
        counted = [r for r in rows if part in ("true", "status") and r["server"] > 0]
        floors = {n: min(r["server"] for r in counted if r["hosts"] == n) / cores for n in {r["hosts"] for r in counted}}
        for row in rows:
            ours = next(r for r in rows if r["hosts"] == row["hosts"])
            memory = f"{row['memory']:.0f}" if "memory" in row else ""
            print(
                f"| {row['name']} | {row['hosts']} | {row['wall']:.2f} | {row['wall'] / ours['wall']:.2f} | "
                f"{row['cpu'] * 1000 / row['hosts']:.1f} | {row['server'] / cores:.2f} | {memory} | "
                f"{row['connections'] / row['hosts']:g} |"
            )
        for count, floor in sorted(floors.items()):
            ours = next(r for r in rows if r["hosts"] == count)
            ratio = f"{floor / ours['wall']:.2f}"
            print(f"| floor: servers' CPU / processors | {count} | {floor:.2f} | {ratio} | | {floor:.2f} | | |")
    for row in bench.results:
        if row["part"] == "round trips":
            first = row["name"] == "login alone: fleet"
            if first:
                print("\n| round trips | all | after login |\n|---|---|---|")
            print(f"| {row['name']} | {row['trips']} | {row.get('after_login', '')} |")
    for row in [r for r in bench.results if "wall" in r and not r["hosts"]]:
        print(f"{row['part']}: {row['name']} {row['wall'] * 1000:.1f} ms")


def main():
    args = parse()
    soft = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder:
        folder = Path(folder)
        cpu = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine())
        ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr.strip()
        machine = {"date": datetime.date.today().isoformat(), "processors": soft, "cpu": cpu, "ssh": ssh, "load": os.getloadavg()[0]}
        with Hosts(folder, max(args.counts)) as hosts:
            bench = Bench(args, hosts, folder)
            try:
                for part in args.only.split():
                    getattr(bench, part)()
                    # Each part makes the directories it needs anew.
                    for home in folder.glob("fleet*-*"):
                        shutil.rmtree(home)
            finally:
                stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
                (args.out / f"{stamp}.json").write_text(json.dumps({"machine": machine, "results": bench.results}, indent=1))
        report(bench, machine)


if __name__ == "__main__":
    main()
