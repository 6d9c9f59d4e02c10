"""Says hello, and says whether it is well. Counts its visits in a file that a backup can hold."""

import json
import os
import pathlib
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VISITS = pathlib.Path("/data/visits")
LOCK = threading.Lock()


def count() -> int:
    with LOCK:
        visits = int(VISITS.read_text()) + 1 if VISITS.exists() else 1
        new = VISITS.with_suffix(".new")
        new.write_text(str(visits))
        new.rename(VISITS)
        return visits


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status, answer = 200, {"status": "ok", "client": os.environ["CLIENT"], "greeting": os.environ["GREETING"]}
        if self.path == "/visits":
            answer["visits"] = count()
        elif self.path == "/token":
            good = self.headers.get("Authorization") == f"Bearer {os.environ['TOKEN']}"
            status, answer = (200, {"status": "ok"}) if good else (401, {"status": "refused"})
        elif self.path not in ("/", "/health"):
            status, answer = 404, {"status": "unknown"}
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("", 8080), Hello)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("hello: listening on 8080", flush=True)
server.serve_forever()
sys.exit(0)
