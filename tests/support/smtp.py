"""A real SMTP server (aiosmtpd) for one test: spools what it accepts, and ends when its standard input is closed.

Arguments: one JSON object, see `Settings` in smtp.rs. The directory that it works in is removed at the end, so that a
killed test leaves neither a process nor a file.
"""

import asyncio
import json
import logging
import os
import shutil
import ssl
import sys

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, LoginPassword

settings = json.loads(sys.argv[1])
spool = settings["dir"]


def publish(name, content):
    path = os.path.join(spool, name)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        file.write(content)
    os.rename(path + ".tmp", path)


def scripted(stage):
    """What the test wants to be answered at this stage instead of the usual; read anew each time."""
    try:
        with open(os.path.join(spool, "replies.json"), encoding="utf-8") as file:
            return json.load(file).get(stage)
    except FileNotFoundError:
        return None


class Commands(logging.Handler):
    """Appends the verb of each command that a client sent."""

    def emit(self, record):
        if record.msg == "%r >> %r":
            verb = record.args[1].split(b" ")[0].decode("ascii", "replace").upper()
            with open(os.path.join(spool, "commands"), "a", encoding="utf-8") as file:
                file.write(verb + "\n")


class Server(SMTP):
    greeted = False

    async def push(self, status):
        if settings["auth"] is None and status.startswith("250-AUTH"):
            return
        if settings["delay"]:
            await asyncio.sleep(settings["delay"])
        if not self.greeted:
            self.greeted = True
            refusal = scripted("connect")
            if refusal:
                await super().push(refusal)
                self.transport.close()
                return
        await super().push(status)


class Mailbox:
    count = 0

    async def handle_AUTH(self, server, session, envelope, args):
        refusal = scripted("auth")
        if refusal:
            await server.push(refusal.replace("ARGUMENTS", " ".join(args)))
            return AuthResult(success=False, handled=True)
        return MISSING

    async def handle_MAIL(self, server, session, envelope, address, options):
        refusal = scripted("mail")
        if refusal:
            return refusal
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        refusal = scripted("rcpt")
        if refusal:
            return refusal
        if address in settings["refuse"]:
            return "550 5.1.1 no mailbox of that name here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        refusal = scripted("data")
        if refusal:
            return refusal
        Mailbox.count += 1
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "encrypted": session.ssl is not None or settings["security"] == "tls",
            "login": session.auth_data.login.decode() if session.authenticated else None,
            "data": envelope.content.decode("utf-8", "backslashreplace"),
        }
        publish(f"mail-{Mailbox.count:04}.json", json.dumps(mail))
        return "250 2.0.0 queued as " + str(Mailbox.count)


def authenticate(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and [data.login.decode(), data.password.decode()] == settings["auth"]
    return AuthResult(success=right, handled=False, auth_data=data)


def connection(tls, loop):
    starttls = settings["security"] == "starttls"
    return Server(
        Mailbox(),
        hostname="mail.test",
        tls_context=tls if starttls else None,
        require_starttls=starttls,
        auth_required=settings["auth"] is not None,
        auth_require_tls=starttls or (settings["security"] == "none" and settings["auth"] is None),
        authenticator=authenticate,
        enable_SMTPUTF8=True,
        loop=loop,
    )


async def until_standard_input_is_closed(loop):
    while await loop.run_in_executor(None, sys.stdin.buffer.read, 1):
        pass


async def serve():
    loop = asyncio.get_running_loop()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(os.path.join(spool, "server.pem"), os.path.join(spool, "server.key"))
    implicit = tls if settings["security"] == "tls" else None
    server = await loop.create_server(
        lambda: connection(tls, loop), "127.0.0.1", settings["port"], ssl=implicit, reuse_address=True
    )
    publish("port", str(server.sockets[0].getsockname()[1]))
    await until_standard_input_is_closed(loop)


logging.getLogger("mail.log").setLevel(logging.INFO)
logging.getLogger("mail.log").addHandler(Commands())
logging.getLogger("mail.log").propagate = False
try:
    asyncio.run(serve())
finally:
    shutil.rmtree(spool, ignore_errors=True)
