"""An HTTP server for imports: CSV files and an API with pages, on a free port of 127.0.0.1.

Prints its port.  Paths:
  /file.csv            a CSV file
  /pages?page=N        {"data": [...]}: three pages of two people, then empty ones; needs the key
  /linked              pages that name the next by URL
  /cursor?cursor=X     pages that name the next by a cursor
  /elsewhere           a page that leads to another host
  /busy                429 with Retry-After once, then a page
  /broken              what is no JSON
"""
import http.server
import json
import sys
from urllib.parse import parse_qs, urlsplit

seen = {"busy": 0}


def people(page):
    return [{"id": page * 10 + i, "name": {"first": f"P{page}", "last": f"L{i}"}, "mail": f"p{page}.{i}@api.test",
             "tags": ["x"]} for i in (1, 2)] if page <= 3 else []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, body, status=200, kind="application/json", headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/file.csv":
            self.answer("E-mail;Nom\nweb@file.test;Été\n".encode("cp1252"), kind="text/csv")
        elif url.path == "/pages":
            if self.headers.get("Authorization") != "Bearer the-token-of-alpha":
                self.answer({"error": "no key"}, 401)
            else:
                self.answer({"data": people(int(query.get("page", ["1"])[0]))})
        elif url.path == "/linked":
            page = int(query.get("p", ["1"])[0])
            self.answer({"items": people(page), "links": {"next": f"/linked?p={page + 1}" if page < 3 else None}})
        elif url.path == "/cursor":
            page = int(query.get("cursor", ["1"])[0])
            self.answer({"data": people(page), "meta": {"next": str(page + 1) if page < 2 else ""}})
        elif url.path == "/elsewhere":
            self.answer({"data": people(1), "next": "http://other.test/pages"})
        elif url.path == "/busy":
            seen["busy"] += 1
            if seen["busy"] == 1:
                self.answer({"error": "slow down"}, 429, headers=[("Retry-After", "1")])
            else:
                self.answer({"data": people(1)})
        elif url.path == "/broken":
            self.answer(b"<html>not json", kind="text/html")
        else:
            self.answer({"error": "not found"}, 404)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    sys.exit(0)
