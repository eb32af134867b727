#!/usr/bin/python3
"""Services that quote the key they are given, in every form it could take.

usage: echo_key.py DIR     writes DIR/port.http and DIR/port.smtp

HTTP: GET /FORM answers with the key so written, in the body and in a header;
/redirect/FORM leads to a path with it.  The key is taken from X-Key, the query's
"key" or the user of basic authentication.  /binary has it in bytes that are no text.
SMTP: AUTH is refused with what the client sent and with the password itself.
"""
import asyncio
import base64
import html
import json
import os
import re
import sys
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

DIR = sys.argv[1]


def b64(data):
    return base64.b64encode(data).decode()


FORMS = {
    "plain": lambda k: k,
    "url": lambda k: quote(k, safe=""),
    "url_lower": lambda k: re.sub("%..", lambda m: m[0].lower(), quote(k, safe="")),
    "url_path": quote,
    "url_form": quote_plus,
    "every_byte": lambda k: "".join("%%%02X" % b for b in k.encode()),
    "json": lambda k: json.dumps({"error": "bad key " + k}).replace("/", "\\/"),
    "html": lambda k: "<p>bad key " + html.escape(k) + "</p>",
    "basic": lambda k: "Authorization: Basic " + b64((k + ":").encode()),
    "base64": lambda k: b64(k.encode()),
    "base64_url": lambda k: base64.urlsafe_b64encode(("x" + k).encode()).decode(),
    "base64_inside": lambda k: b64(("user:" + k + ":tail").encode()),
    "base64_inside_2": lambda k: b64(("\0me\0" + k).encode()),
    "base64_escaped": lambda k: quote(b64((k + ":").encode()), safe=""),
    "base64_json": lambda k: json.dumps(b64((k + ":").encode())).replace("/", "\\/"),
    "utf16": lambda k: k,
}


def key_of(target, headers):
    if "x-key" in headers:
        return headers["x-key"]
    if headers.get("authorization", "").startswith("Basic "):
        return base64.b64decode(headers["authorization"][6:]).decode().removesuffix(":")
    return parse_qs(urlsplit(target).query).get("key", [""])[0]


def answer(status, body, headers=()):
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def web(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            target = head[0].split(" ", 2)[1]
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if ": " in line)}
            parts = urlsplit(target).path.strip("/").split("/")
            key = key_of(target, headers)
            if parts[0] == "redirect":
                writer.write(answer(302, b"", ["Location: /landed/" + quote(FORMS[parts[1]](key)) + "/end"]))
            elif parts[0] == "landed":
                writer.write(answer(200, b"begin landed end"))
            elif parts[0] == "binary":
                writer.write(answer(200, b"\xff\x00" + key.encode() + b"\x00\xfe", ["Content-Type: application/pdf"]))
            elif parts[0] == "utf16":
                writer.write(answer(200, ("begin " + key + " end").encode("utf-16"), ["Content-Type: text/plain; charset=utf-16"]))
            else:
                text = FORMS[parts[0]](key)
                writer.write(answer(401, ("begin " + text + " end").encode(),
                                    ["Content-Type: text/plain", "X-Echo: begin " + text + " end"]))
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def mail(reader, writer):
    async def line():
        return (await reader.readline()).decode("latin-1").rstrip("\r\n")

    def say(text):
        writer.write(text.encode() + b"\r\n")

    say("220 echo")
    try:
        while True:
            said = await line()
            word = said.split(" ")[0].upper()
            if word == "EHLO":
                say("250-echo\r\n250 AUTH PLAIN")
            elif word == "AUTH":
                sent = said.split(" ")[2] if said.count(" ") > 1 else None
                if sent is None:
                    say("334 ")
                    sent = await line()
                password = base64.b64decode(sent).split(b"\0")[2].decode()
                say(f"535-5.7.8 begin {said}\r\n535-5.7.8 {sent}\r\n535 5.7.8 no such password {password} end")
            elif word in ("QUIT", ""):
                say("221 bye")
                return
            else:
                say("502 what")
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main():
    for name, serve in (("http", web), ("smtp", mail)):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        with open(os.path.join(DIR, f"port.{name}.tmp"), "w") as f:
            f.write(str(server.sockets[0].getsockname()[1]))
        os.rename(os.path.join(DIR, f"port.{name}.tmp"), os.path.join(DIR, f"port.{name}"))
    await asyncio.Event().wait()

asyncio.run(main())
