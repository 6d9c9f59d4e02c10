"""Takes new requests in hand, one round every few seconds. `worker.py --check` is its health check."""

import os
import signal
import sys
import threading
import time

import psycopg

HEARTBEAT = os.environ.get("HEARTBEAT_FILE") or "/tmp/heartbeat"
PAUSE = float(os.environ.get("WORKER_PAUSE") or 5)
STALE = 4 * PAUSE + 10

stopping = threading.Event()


def connect():
    common = {"connect_timeout": 3, "application_name": "geoclic-worker"}
    if os.environ.get("DATABASE_URL"):
        return psycopg.connect(os.environ["DATABASE_URL"], **common)
    return psycopg.connect(
        host=os.environ["DB_HOST"],
        port=os.environ.get("DB_PORT") or "5432",
        user=os.environ["DB_USER"],
        password=os.environ["DB_PASSWORD"],
        dbname=os.environ["DB_NAME"],
        **common,
    )


def one_round() -> int:
    with connect() as db:
        if db.execute("SELECT to_regclass('demandes')").fetchone()[0] is None:
            return 0  # before the first migration
        return db.execute("UPDATE demandes SET statut = 'en cours' WHERE statut = 'nouvelle'").rowcount


def check() -> int:
    try:
        age = time.time() - os.stat(HEARTBEAT).st_mtime
    except FileNotFoundError:
        print("aucun battement")
        return 1
    print(f"dernier battement il y a {age:.0f} s")
    return 0 if age < STALE else 1


def main() -> int:
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stopping.set())
    print("GéoClic worker - Démarrage...", flush=True)
    while not stopping.is_set():
        try:
            taken = one_round()
            if taken:
                print(f"{taken} demande(s) prise(s) en charge", flush=True)
            with open(HEARTBEAT, "w") as file:
                file.write(str(time.time()))
        except psycopg.Error as error:
            print(f"base de données indisponible ({type(error).__name__})", file=sys.stderr, flush=True)
        stopping.wait(PAUSE)
    print("GéoClic worker - Arrêt", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(check() if "--check" in sys.argv else main())
