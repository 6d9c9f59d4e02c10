"""A mail server for the tests: TLS and a login are insisted upon; each mail becomes a line of JSON.

Usage: smtp.py starttls|implicit CERTIFICATE KEY OUTPUT
Prints its port once it listens.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode, certificate, key, output = sys.argv[1:]


class Keep:
    async def handle_DATA(self, server, session, envelope):
        with open(output, "a") as file:
            json.dump(
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "tls": session.ssl is not None or mode == "implicit",
                    "user": session.auth_data.login.decode() if session.auth_data else None,
                    "content": envelope.content.decode(),
                },
                file,
            )
            file.write("\n")
        return "250 kept"


def login(server, session, envelope, mechanism, data):
    good = data.login == b"fleet" and data.password == b"Poison-smtp-7Q2xK9"
    return AuthResult(success=good, handled=False, auth_data=data if good else None)


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    starttls = mode == "starttls"

    def protocol():
        return SMTP(
            Keep(),
            hostname="mail.example.test",
            authenticator=login,
            auth_required=True,
            auth_require_tls=starttls,
            require_starttls=starttls,
            tls_context=context if starttls else None,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=None if starttls else context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
