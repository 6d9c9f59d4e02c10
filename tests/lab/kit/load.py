"""Clients that keep their connections, half GET and half POST, until standard input ends; then what they met.

load.py ADDRESS DOMAIN CA CLIENTS GET [POST]: one JSON line with requests, failures, p50, p99 and worst in seconds.
"""

import http.client
import json
import socket
import ssl
import sys
import threading
import time

address, domain, ca, clients, get = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
post = sys.argv[6] if len(sys.argv) > 6 else None
stop = threading.Event()
lock = threading.Lock()
times, failures, releases = [], [], {}
context = ssl.create_default_context(cafile=ca)
# The certificates of the lab's ACME server lack what Python 3.13 asks of an issuer.
context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)


class Connection(http.client.HTTPSConnection):
    """To a fixed address, verified for the domain."""

    def connect(self):
        sock = socket.create_connection((address, 443), 20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = context.wrap_socket(sock, server_hostname=domain)


def client(number):
    connection, count = Connection(domain, timeout=20), 0
    while not stop.is_set():
        count += 1
        began = time.monotonic()
        try:
            if post is None or (count + number) % 2:
                connection.request("GET", get)
            else:
                connection.request("POST", post, body=b"x" * 512)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise OSError(f"{answer.status} {body[:200]!r}")
            # A page does not say which release wrote it.
            if answer.getheader("Content-Type", "").startswith("application/json"):
                name = str(json.loads(body).get("release"))
                with lock:
                    releases[name] = releases.get(name, 0) + 1
        except Exception as error:
            with lock:
                failures.append(f"{time.strftime('%H:%M:%S')} request {count} of client {number}: {error!r}")
            connection.close()
        with lock:
            times.append(time.monotonic() - began)
        # A server closes an idle or well-used connection between requests; that is no failure of an update.
        if count % 50 == 0:
            connection.close()
        time.sleep(0.02)


threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
for thread in threads:
    thread.start()
print("started", flush=True)
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
times.sort()
part = lambda share: times[min(len(times) - 1, int(len(times) * share))] if times else 0.0
print(json.dumps({"requests": len(times), "failures": failures[:20], "failed": len(failures), "p50": part(0.5), "p99": part(0.99), "worst": part(1), "releases": releases}))
