"""Answers who it is. A POST is counted in what it says: the length of its body, after a little work."""

import asyncio
import json
import os
import pathlib

RELEASE = pathlib.Path(__file__).with_name("release.txt").read_text().strip()


async def body_of(receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    answer = {"status": "ok", "client": os.environ["CLIENT"], "release": RELEASE, "greeting": os.environ["GREETING"]}
    if scope["method"] == "POST":
        body = await body_of(receive)
        await asyncio.sleep(0.02)
        answer["length"] = len(body)
    text = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})
