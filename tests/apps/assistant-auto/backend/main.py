"""Assistant Auto: answers, feedback and uploads, all kept in files; says honestly how it is."""

import json
import logging
import logging.handlers
import os
import pathlib
import re
import time
import uuid

import sentry_sdk
from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

DATA, UPLOADS, LOGS = (pathlib.Path(name) for name in ("data", "uploads", "logs"))
ENVIRONMENT = os.environ.get("ENVIRONMENT") or "production"
LOGS.mkdir(exist_ok=True)
handlers = [
    logging.StreamHandler(),
    logging.handlers.RotatingFileHandler(LOGS / "app.log", maxBytes=1_000_000, backupCount=3),
]
logging.basicConfig(level=os.environ.get("LOG_LEVEL") or "INFO", handlers=handlers, format="%(levelname)s %(message)s")
log = logging.getLogger("assistant")

try:
    sentry_sdk.init(
        dsn=os.environ.get("SENTRY_DSN") or None,
        environment=ENVIRONMENT,
        traces_sample_rate=float(os.environ.get("SENTRY_TRACES_SAMPLE_RATE") or 0.1),
        send_default_pii=False,
    )
except sentry_sdk.utils.BadDsn:
    log.error("SENTRY_DSN invalide")

log.info("Assistant Auto - Démarrage...")
app = FastAPI(title="Assistant Auto Ultime")


@app.get("/api/health")
def health():
    client = sentry_sdk.get_client()
    on = getattr(client, "transport", None) is not None
    writable = all(os.access(folder, os.W_OK) for folder in (DATA, UPLOADS))
    report = {
        "status": "ok" if writable else "degraded",
        "environment": ENVIRONMENT,
        "sentry": {"status": "ok" if on else "disabled", "environment": ENVIRONMENT},
        "services": {name: bool(os.environ.get(f"{name.upper()}_API_KEY")) for name in ("google", "openai", "stripe")},
    }
    return JSONResponse(report, status_code=200 if writable else 503)


def write(folder: pathlib.Path, name: str, content: bytes):
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{name}.part"
    part.write_bytes(content)
    part.rename(folder / name)


@app.post("/api/feedback", status_code=201)
def feedback(kind: str = Body("suggestion"), message: str = Body(min_length=1, max_length=5000)):
    if not re.fullmatch("bug|commentaire|suggestion", kind):
        raise HTTPException(422, "type inconnu")
    name = f"{int(time.time())}-{uuid.uuid4().hex}.json"
    write(DATA / "feedback", name, json.dumps({"type": kind, "message": message}).encode())
    log.info("feedback %s", kind)
    return {"id": name}


@app.get("/api/feedback")
def count_feedback():
    return {"count": len(list((DATA / "feedback").glob("*.json")))}


@app.post("/api/uploads", status_code=201)
async def upload(request: Request):
    content = await request.body()
    name = uuid.uuid4().hex
    write(UPLOADS, name, content)
    return {"id": name, "size": len(content)}
