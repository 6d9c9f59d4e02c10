"""GéoClic Suite API: requests of citizens, their photos, and an honest account of its own health."""

import base64
import hashlib
import hmac
import json
import os
import re
import socket
import time
import uuid
from contextlib import asynccontextmanager

import psycopg
import sentry_sdk
from fastapi import Body, FastAPI, Header, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse
from psycopg.rows import dict_row

import settings as configuration

settings = configuration.load()


def start_sentry():
    """An invalid DSN must not stop the API: it runs without Sentry and says so."""
    try:
        sentry_sdk.init(
            dsn=settings.sentry_dsn or None,
            environment=settings.sentry_environment,
            traces_sample_rate=settings.sentry_traces_rate,
            release=settings.release,
            send_default_pii=False,
        )
    except sentry_sdk.utils.BadDsn:
        print("SENTRY_DSN invalide", flush=True)


def sentry_health() -> dict:
    # is_initialized() is true with an empty DSN: only a transport can deliver an event.
    client = sentry_sdk.get_client()
    if getattr(client, "transport", None) is None:
        return {"status": "disabled", "environment": settings.sentry_environment}
    return {"status": "ok", "environment": client.options["environment"]}


@asynccontextmanager
async def lifespan(_app):
    print("GéoClic Suite V14 API - Démarrage...", flush=True)
    sentry = sentry_health()
    print(f"Sentry activé (env: {sentry['environment']})" if sentry["status"] == "ok" else "Sentry désactivé", flush=True)
    yield
    sentry_sdk.flush(timeout=2)


start_sentry()
app = FastAPI(title="GéoClic Suite API", version=configuration.VERSION, lifespan=lifespan)


def connect():
    return psycopg.connect(**settings.database, row_factory=dict_row)


def migrations_health(db) -> dict:
    if db.execute("SELECT to_regclass('fleet_migrations') AS t").fetchone()["t"] is None:
        return {"applied": 0, "latest": None}
    row = db.execute("SELECT count(*) AS applied, max(name) AS latest FROM fleet_migrations").fetchone()
    return {"applied": row["applied"], "latest": row["latest"]}


def cache_health() -> dict:
    if not settings.cache_host:
        return {"status": "disabled"}
    try:
        with socket.create_connection((settings.cache_host, 6379), timeout=1) as cache:
            cache.sendall(b"PING\r\n")
            return {"status": "ok" if cache.recv(16).startswith(b"+PONG") else "error"}
    except OSError:
        return {"status": "error"}


@app.get("/api/health")
def health():
    report = {
        "status": "ok",
        "version": configuration.VERSION,
        "name": settings.public_name,
        "database": {"status": "ok"},
        "migrations": {"applied": 0, "latest": None},
        "cache": cache_health(),
        "sentry": sentry_health(),
    }
    try:
        with connect() as db:
            db.execute("SELECT 1")
            report["migrations"] = migrations_health(db)
    except psycopg.Error as error:
        # Its class only: the message may hold the address, the user, even the password.
        report["database"] = {"status": "error", "error": type(error).__name__}
        report["status"] = "degraded"
    return JSONResponse(report, status_code=200 if report["status"] == "ok" else 503)


@app.get("/api/demandes")
def list_demandes(limite: int = 50):
    with connect() as db:
        return db.execute("SELECT * FROM demandes ORDER BY creee_le DESC, id LIMIT %s", (min(max(limite, 1), 500),)).fetchall()


@app.post("/api/demandes", status_code=201)
def create_demande(
    titre: str = Body(min_length=1, max_length=200),
    description: str = Body(""),
    categorie: str = Body("autre", max_length=50),
):
    with connect() as db:
        return db.execute(
            "INSERT INTO demandes (titre, description, categorie) VALUES (%s, %s, %s) RETURNING *",
            (titre, description, categorie),
        ).fetchone()


@app.get("/api/demandes/{identifiant}")
def one_demande(identifiant: str):
    # A defect kept on purpose: the operator's guide uses it to see an error arrive in Sentry.
    try:
        key = uuid.UUID(identifiant)
    except ValueError:
        raise ValueError("invalid UUID") from None
    with connect() as db:
        row = db.execute("SELECT * FROM demandes WHERE id = %s", (key,)).fetchone()
    if row is None:
        raise HTTPException(404, "demande inconnue")
    return row


PHOTO_NAME = re.compile(r"[0-9a-f]{32}\.(jpg|png|bin)")
PHOTO_TYPES = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png"}


@app.post("/api/photos", status_code=201)
async def add_photo(request: Request):
    """The body is the picture: curl --data-binary @photo.jpg"""
    content = await request.body()
    if not content or len(content) > 10_000_000:
        raise HTTPException(413 if content else 400, "une photo fait de 1 octet à 10 Mo")
    kind = next((ext for magic, ext in PHOTO_TYPES.items() if content.startswith(magic)), "bin")
    name = f"{uuid.uuid4().hex}.{kind}"
    digest = hashlib.sha256(content).hexdigest()
    path = os.path.join(settings.photos, name)
    with open(path + ".part", "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".part", path)
    with connect() as db:
        db.execute("INSERT INTO photos (nom, taille, sha256) VALUES (%s, %s, %s)", (name, len(content), digest))
    return {"nom": name, "taille": len(content), "sha256": digest}


@app.get("/api/photos")
def list_photos():
    with connect() as db:
        return db.execute("SELECT * FROM photos ORDER BY creee_le DESC, nom").fetchall()


@app.get("/api/photos/{nom}")
def one_photo(nom: str):
    path = os.path.join(settings.photos, nom)
    if not PHOTO_NAME.fullmatch(nom) or not os.path.exists(path):
        raise HTTPException(404, "photo inconnue")
    return FileResponse(path)


def verify_token(token: str) -> dict:
    """An HS256 token signed with this client's own JWT_SECRET_KEY; another client's is refused."""

    def decode(part):
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

    try:
        head, body, signature = token.split(".")
        expected = hmac.new(settings.jwt_secret.encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
        claims = json.loads(decode(body))
        good = hmac.compare_digest(expected, decode(signature)) and json.loads(decode(head)).get("alg") == "HS256"
    except (ValueError, AttributeError):
        good = False
    if not good or claims.get("exp", 0) < time.time():
        raise HTTPException(401, "jeton refusé")
    return claims


@app.get("/api/admin/stats")
def stats(authorization: str = Header("")):
    verify_token(authorization.removeprefix("Bearer "))
    with connect() as db:
        return db.execute("SELECT count(*) AS demandes, (SELECT count(*) FROM photos) AS photos FROM demandes").fetchone()
