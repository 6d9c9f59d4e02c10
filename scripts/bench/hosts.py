"""Simulated hosts: sshds that share addresses of 127.77.0.0/16, and a proxy that is far away."""

import getpass
import ipaddress
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FIRST = ipaddress.ip_address("127.77.0.1")
PORT = 22077
# sshd listens on no more sockets than this (MAX_LISTEN_SOCKS).
EACH = 16
TICK = os.sysconf("SC_CLK_TCK")


def address(index):
    return str(FIRST + index)


class Hosts:
    """`count` hosts. Their processor time and connections are counted at the servers."""

    def __init__(self, folder, count):
        self.folder, self.count, self.servers = Path(folder), count, []
        self.addresses = [address(i) for i in range(count)]
        for name in ("host", "key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", self.folder / name], check=True
            )
        (self.folder / "authorized_keys").write_text((self.folder / "key.pub").read_text())
        host_key = " ".join((self.folder / "host.pub").read_text().split()[:2])
        places = [(a, PORT) for a in self.addresses] + [(self.addresses[0], PORT + 1)]
        known = "".join(f"[{a}]:{p} {host_key}\n" for a, p in places)
        (self.folder / "known_hosts").write_text(known)
        (self.folder / "ssh_config").write_text(
            f"Host *\n  Port {PORT}\n  User {getpass.getuser()}\n  IdentityFile {self.folder}/key\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {self.folder}/known_hosts\n"
            "  StrictHostKeyChecking yes\n  BatchMode yes\n  LogLevel ERROR\n  ConnectTimeout 30\n"
        )
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", 0o755, exist_ok=True)

    def __enter__(self):
        for start in range(0, self.count, EACH):
            config = self.folder / f"sshd{start}"
            listen = "".join(f"ListenAddress {a}:{PORT}\n" for a in self.addresses[start : start + EACH])
            config.write_text(
                f"{listen}HostKey {self.folder}/host\nAuthorizedKeysFile {self.folder}/authorized_keys\n"
                "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\n"
                "KbdInteractiveAuthentication no\nMaxStartups 2000\nLogLevel VERBOSE\nPrintMotd no\n"
                "SetEnv SHLVL=3\nSubsystem sftp internal-sftp\n"
            )
            self.servers.append(
                subprocess.Popen(["/usr/sbin/sshd", "-D", "-f", config, "-E", self.folder / f"log{start}"])
            )
        deadline = time.time() + 60
        while any("Server listening" not in log for log in self.logs()):
            if time.time() > deadline:
                sys.exit(f"sshd does not start: {self.logs()}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.send_signal(signal.SIGTERM)
        for server in self.servers:
            server.wait()

    def logs(self):
        files = [self.folder / f"log{start}" for start in range(0, self.count, EACH)]
        return [f.read_text() if f.exists() else "" for f in files]

    def connections(self):
        return sum(log.count("Connection from ") for log in self.logs())

    def cpu(self):
        """Seconds of processor, with the sessions that ended."""
        total = 0
        for server in self.servers:
            fields = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += sum(int(field) for field in fields[11:15])
        return total / TICK

    def settle(self):
        """Waits until all sessions ended and were counted."""
        self.settle_to(0)

    def settle_to(self, idle):
        """The same with so many that stay."""
        for _ in range(100):
            children = [Path(f"/proc/{s.pid}/task/{s.pid}/children").read_text().split() for s in self.servers]
            if sum(map(len, children)) <= idle:
                return
            time.sleep(0.05)


def proxy(delay, told):
    """Passes the first host's port on, each way `delay` seconds late, until it is killed. For each connection it
    writes to `told` how often the near side waited for the far one: it speaks again, after an answer, a round trip later
    than before."""
    import asyncio

    async def carry(reader, writer, heard, given):
        queue = asyncio.Queue()

        async def late():
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0, due - loop.time()))
                if not data:
                    writer.close()
                    return
                writer.write(data)
                given()

        loop = asyncio.get_running_loop()
        task = asyncio.create_task(late())
        data = b"x"
        while data:
            try:
                data = await reader.read(1 << 16)
            except OSError:
                data = b""
            if data:
                heard()
            await queue.put((loop.time() + delay, data))
        await task

    async def serve(reader, writer):
        turns = {"count": 0, "since": 0.0, "answered": True}

        def near():
            now = loop.time()
            if turns["answered"] and now - turns["since"] > 1.6 * delay:
                turns["count"] += 1
                turns["since"] = now
                turns["answered"] = False

        def answered():
            turns["answered"] = True

        nothing = lambda: None
        loop = asyncio.get_running_loop()
        there, onward = await asyncio.open_connection(address(0), PORT)
        await asyncio.gather(carry(reader, onward, near, nothing), carry(there, writer, nothing, answered), return_exceptions=True)
        with open(told, "a") as file:
            file.write(f"{turns['count']}\n")

    async def run():
        server = await asyncio.start_server(serve, address(0), PORT + 1)
        async with server:
            await server.serve_forever()

    asyncio.run(run())


if __name__ == "__main__":
    proxy(float(sys.argv[1]), sys.argv[2])
