#!/usr/bin/python3
"""An HTTP peer that behaves well or badly, as the path says.

usage: peer.py DIR [CERT KEY]     writes its ports to DIR/port.http (and DIR/port.https)
                                  and a line "METHOD TARGET" for each request to DIR/requests,
                                  and, once its answer is on the way, to DIR/answers

/ok                 200 with {"ok": true}           /echo       the request's headers as JSON
/status/N[?after=S] that status, Retry-After: S     /wait/MS    200 after so long
/held               200 once the file "release" is there; /held/N with N bytes of text
/never              no answer                       /drip       an answer that never ends, a byte at a time
/huge               a body without an end           /headers    headers without an end
/truncated          less than Content-Length says   /reset      the connection is reset
/chunkcut           chunks without the last one     /resetlate  the connection is reset in the middle of the body
/badchunk           a chunk whose size is no number /gzipbomb   16 MB of spaces that are 16 kB when packed
/badjson  /badutf8  /duplicate  /nul                bodies that are not what they should be
/flood/WHAT         what a client reads without end and without a body: 100, 103, trailers, chunk (its extension), gzip (empty
                    blocks), line (of a header);  /raw/WHAT   an answer of another age or form, see RAW
/bytes/HEX?TYPE     a body of these bytes, of that Content-Type
/to?URL             redirects to the URL            /loop       redirects to itself

Sessions, each at a port of its own (DIR/port.NAME): ftp, imap and smtp speak as servers do as far as the first byte of
a file, of a mail, of the answer to DATA, and drip from there; greeting drips from its first byte, silent says nothing.
"""
import asyncio
import gzip
import json
import os
import socket
import ssl
import struct
import sys
from urllib.parse import unquote

DIR = sys.argv[1]

# WHAT: head and piece of what never ends
FLOODS = {
    "100": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "103": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X-Filler: " + b"y" * 1000 + b"\r\n"),
    "chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;", b"y" * 1000),
    "gzip": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\3", b"\0\0\0\xff\xff" * 200),
    "line": (b"HTTP/1.1 200 OK\r\nX-Filler: ", b"y" * 1000),
}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
RAW = {
    "1.0": b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"ok\": true}",
    "0.9": b"{\"ok\": true}",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n{\"ok\": true}",
    "304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
    "nul": b"HTTP/1.1 200 OK\r\nX-\0Odd: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "nultrailer": CHUNKED + b"\r\nC\r\n{\"ok\": true}\r\n0\r\nX-Odd: a\0b\r\n\r\n",
    "trailer": CHUNKED + b"Content-Type: application/json\r\nTrailer: Retry-After\r\n\r\nC\r\n{\"ok\": true}\r\n0\r\nContent-Type: text/html; charset=utf-16\r\n\r\n",
    "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 12\r\n\r\n{\"ok\": true}",
    "negative": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{\"ok\": true}",
    "overflow": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{\"ok\": true}",
    "status": b"HTTP/1.1 odd OK\r\n\r\n{\"ok\": true}",
    "folded": b"HTTP/1.1 200 OK\r\nX-Odd: a\r\n : b\r\n:c\r\nHTTP/2: d\r\nContent-Length: 12\r\n\r\n{\"ok\": true}",
    "encodings": b"HTTP/1.1 200 OK\r\nContent-Encoding: " + b"gzip, " * 50 + b"gzip\r\n\r\n{\"ok\": true}",
    "charset": b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=" + b"../../../../etc/passwd" * 20 + b"\r\nContent-Length: 12\r\n\r\n{\"ok\": true}",
    "deep": b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 500000,
    "cookies": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; Domain=127.0.0.1; Path=/\r\nStrict-Transport-Security: max-age=99999\r\n"
               b"Alt-Svc: h2=\"127.0.0.1:9\"; ma=99999\r\nContent-Length: 12\r\n\r\n{\"ok\": true}",
}


def answer(status, body=b"", headers=(), type="application/json"):
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", f"Content-Type: {type}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def drip(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(writer, head, piece):
    writer.write(head)
    while True:
        writer.write(piece)
        await writer.drain()


def note(name, method, target):
    with open(os.path.join(DIR, name), "a") as log:
        log.write(f"{method} {target}\n")


async def serve_one(method, target, headers, writer):
    path, _, query = target.partition("?")
    parts = path.strip("/").split("/")
    what = parts[0]
    if what == "ok":
        writer.write(answer(200, b'{"ok": true}'))
    elif what == "echo":
        writer.write(answer(200, json.dumps({"method": method, "target": target, "headers": headers}).encode()))
    elif what == "status":
        after = [f"Retry-After: {unquote(query[6:])}"] if query.startswith("after=") else []
        writer.write(answer(int(parts[1]), b'{"error": {"message": "status %d"}}' % int(parts[1]), after))
    elif what == "wait":
        await asyncio.sleep(int(parts[1]) / 1000)
        writer.write(answer(200, b'{"ok": true}'))
    elif what == "held":
        while not os.path.exists(os.path.join(DIR, "release")):
            await asyncio.sleep(0.02)
        writer.write(answer(200, b"x" * int(parts[1]) if len(parts) > 1 else b'{"ok": true}'))
    elif what == "never":
        await asyncio.sleep(3600)
    elif what == "drip":
        await drip(writer)
    elif what == "huge":
        await flood(writer, b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536)
    elif what == "headers":
        await flood(writer, b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"y" * 1000 + b"\r\n")
    elif what == "flood":
        await flood(writer, *FLOODS[parts[1]])
    elif what == "raw":
        writer.write(RAW[parts[1]])
        await writer.drain()
        raise ConnectionError
    elif what == "truncated":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"half\":")
        await writer.drain()
        raise ConnectionError
    elif what in ("chunkcut", "badchunk"):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"half\":\r\n")
        writer.write(b"zz\r\n" if what == "badchunk" else b"")
        await writer.drain()
        raise ConnectionError
    elif what == "gzipbomb":
        writer.write(answer(200, gzip.compress(b" " * (16 << 20)), ["Content-Encoding: gzip"]))
    elif what in ("reset", "resetlate"):
        if what == "resetlate":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"half\":")
            await writer.drain()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        raise ConnectionError
    elif what == "badjson":
        writer.write(answer(200, b'{"ok": tru'))
    elif what == "badutf8":
        writer.write(answer(200, b'{"ok": "caf\xe9 \xff\xfe \x80"}'))
    elif what == "duplicate":
        writer.write(answer(200, b'{"ok": false, "ok": true}'))
    elif what == "nul":
        writer.write(answer(200, b'{"ok": "\\u0000"}\x00\x00', ["X-Odd: caf\xe9"]))
    elif what == "bytes":
        writer.write(answer(200, bytes.fromhex(parts[1]), type=unquote(query)))
    elif what == "to":
        writer.write(answer(302, b"", [f"Location: {unquote(query)}"]))
    elif what == "loop":
        writer.write(answer(302, b"", [f"Location: {path}?{len(query) + 1}"]))
    else:
        writer.write(answer(404, b"{}"))


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ", 2)
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if ": " in line)}
            await reader.readexactly(int(headers.get("content-length", 0)))
            note("requests", method, target)
            await serve_one(method, target, headers, writer)
            await writer.drain()
            note("answers", method, target)
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def listen(name, context=None):
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, backlog=1024)
    write_port(name, server)
    return server


def write_port(name, server):
    with open(os.path.join(DIR, f"port.{name}.tmp"), "w") as f:
        f.write(str(server.sockets[0].getsockname()[1]))
    os.rename(os.path.join(DIR, f"port.{name}.tmp"), os.path.join(DIR, f"port.{name}"))


async def drip_lines(writer, first):
    writer.write(first)
    while True:
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"x")


async def data_port(writer):
    """A port that drips to who comes; says where in the words of EPSV."""
    server = await asyncio.start_server(lambda r, w: drip_lines(w, b"name,"), "127.0.0.1", 0)
    writer.write(b"229 Entering (|||%d|)\r\n" % server.sockets[0].getsockname()[1])


async def ftp(reader, writer):
    writer.write(b"220 here\r\n")
    while line := await reader.readline():
        word = line.split()[0].upper()
        if word == b"EPSV":
            await data_port(writer)
        else:
            writer.write({b"AUTH": b"500 no\r\n", b"USER": b"331 who\r\n", b"PASS": b"230 in\r\n", b"PWD": b'257 "/"\r\n', b"SIZE": b"213 1000000\r\n",
                          b"RETR": b"150 coming\r\n", b"NLST": b"150 coming\r\n"}.get(word, b"200 yes\r\n"))


async def imap(reader, writer):
    writer.write(b"* OK here\r\n")
    while line := await reader.readline():
        tag, word = line.split()[:2]
        if word.upper() == b"CAPABILITY":
            writer.write(b"* CAPABILITY IMAP4rev1\r\n")
        if word.upper() in (b"FETCH", b"UID"):
            await drip_lines(writer, b"* 1 FETCH (BODY[] {1000000}\r\n")
        writer.write(tag + b" OK done\r\n")


async def smtp(reader, writer):
    writer.write(b"220 here\r\n")
    while line := await reader.readline():
        word = line.split()[0].upper()
        if word == b"DATA":
            await drip_lines(writer, b"354")
        writer.write(b"250 yes\r\n")


async def greeting(reader, writer):
    await drip_lines(writer, b"")


async def silent(reader, writer):
    await asyncio.sleep(3600)


async def session(talk):
    async def guarded(reader, writer):
        try:
            await talk(reader, writer)
        except (ConnectionError, IndexError):
            pass
        finally:
            writer.close()
    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    write_port(talk.__name__, server)
    return server


async def main():
    servers = [await session(talk) for talk in (ftp, imap, smtp, greeting, silent)]
    servers.append(await listen("http"))
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        servers.append(await listen("https", context))
    await asyncio.gather(*(s.serve_forever() for s in servers))

asyncio.run(main())
