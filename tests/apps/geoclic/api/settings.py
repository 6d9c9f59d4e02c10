"""What the environment says, read once; the API does not start with a value that would be unsafe."""

import os
import sys
from dataclasses import dataclass, field

VERSION = "14.0.0"


@dataclass(frozen=True)
class Settings:
    database: dict = field(repr=False)
    jwt_secret: str = field(repr=False)
    public_name: str
    photos: str
    cache_host: str
    sentry_dsn: str = field(repr=False)
    sentry_environment: str
    sentry_traces_rate: float
    release: str | None


def stop(message: str):
    print(f"Configuration invalide : {message}", file=sys.stderr, flush=True)
    raise SystemExit(78)  # EX_CONFIG


def database(env) -> dict:
    """Arguments of psycopg.connect: DATABASE_URL, or the DB_* parts, which need no escaping."""
    common = {"connect_timeout": 3, "application_name": "geoclic-api"}
    if env.get("DATABASE_URL"):
        return {"conninfo": env["DATABASE_URL"], **common}
    missing = [name for name in ("DB_HOST", "DB_USER", "DB_PASSWORD", "DB_NAME") if not env.get(name)]
    if missing:
        stop(f"DATABASE_URL, ou {', '.join(missing)}, manque")
    return {
        "host": env["DB_HOST"],
        "port": env.get("DB_PORT") or "5432",
        "user": env["DB_USER"],
        "password": env["DB_PASSWORD"],
        "dbname": env["DB_NAME"],
        **common,
    }


def load(env=os.environ) -> Settings:
    secret = env.get("JWT_SECRET_KEY", "")
    if len(secret) < 32:
        stop("JWT_SECRET_KEY manque ou compte moins de 32 caractères")
    try:
        rate = float(env.get("SENTRY_TRACES_RATE") or 0.1)
    except ValueError:
        stop("SENTRY_TRACES_RATE n'est pas un nombre")
    return Settings(
        database=database(env),
        jwt_secret=secret,
        public_name=env.get("PUBLIC_NAME") or "GéoClic",
        photos=env.get("PHOTOS_DIR") or "/data/photos",
        cache_host=env.get("CACHE_HOST") or "",
        sentry_dsn=env.get("SENTRY_DSN", "").strip(),
        sentry_environment=env.get("SENTRY_ENVIRONMENT") or "production",
        sentry_traces_rate=rate,
        release=env.get("SENTRY_RELEASE") or None,
    )
