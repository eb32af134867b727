"""Look-up services on loopback: Hunter, Clearbit, Apollo, TED, an invented one, and web pages.

How Hunter, Clearbit and Apollo behave is the last part of the key.  Prints its port; writes each
request as a line of JSON to the file given.
"""
import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

seen = {}
lock = threading.Lock()
log = open(sys.argv[1], "a", buffering=1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def send(self, status, data, content_type="application/json", headers=None):
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def handle_one(self, method):
        url = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(url.query, keep_blank_values=True).items()}
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        service, _, path = url.path.strip("/").partition("/")
        auth = self.headers.get("Authorization", "")
        key = query.get("api_key") or self.headers.get("x-api-key") or self.headers.get("X-Acme-Token") or ""
        if auth.startswith("Basic "):
            key = base64.b64decode(auth[6:]).decode().removesuffix(":")
        with lock:
            seen[key] = count = seen.get(key, 0) + 1
            log.write(json.dumps({"method": method, "service": service, "path": path, "key": key, "query": query, "body": body}) + "\n")
        return getattr(self, service)(path, query, body, key.rpartition("-")[2], count)

    def do_GET(self):
        self.handle_one("GET")

    def do_POST(self):
        self.handle_one("POST")

    def hunter(self, path, query, body, kind, count):
        def error(status, name, details):
            self.send(status, {"errors": [{"id": name, "code": status, "details": details}]})
        if kind == "pace" and count == 1:
            return error(403, "too_many_requests", "You have reached the limit of requests per second")
        if kind == "quota":
            return error(429, "usage_exceeded", "You have exceeded your monthly quota")
        if kind == "bad":
            return error(401, "authentication_failed", "No user found for the API key supplied " + query["api_key"])
        if path == "domain-search":
            return self.send(200, {"data": {"domain": query["domain"], "organization": "By Hunter", "country": "IT", "emails": []}, "meta": {"results": 0}})
        if kind == "pending" and count <= 2:
            return self.send(202, {"data": {"status": "unknown"}, "meta": {}})
        if kind == "later" and count == 1:
            return self.send(222, {"errors": [{"id": "verification_failed", "code": 222, "details": "The remote SMTP server did not answer"}]})
        status = "unknown" if kind == "unsure" else "valid"
        self.send(200, {"data": {"status": status, "result": "deliverable", "score": 97, "email": query["email"], "disposable": False,
                                 "webmail": False, "mx_records": True, "smtp_check": True, "sources": []}, "meta": {"params": {"email": query["email"]}}})

    def clearbit(self, path, query, body, kind, count):
        def error(status, name):
            self.send(status, {"error": {"type": name, "message": "Clearbit says " + name}})
        if kind == "queued" and count == 1:
            return error(202, "queued")
        if kind == "none":
            return error(404, "unknown_record")
        if kind == "paid":
            return error(402, "over_quota")
        if kind == "wrong":
            return error(422, "email_invalid")
        self.send(200, {"id": "c1", "name": "By Clearbit", "legalName": None, "domain": query.get("domain"), "category": {"industry": "Construction"},
                        "site": {"phoneNumbers": ["+39 02 555 0101"]}, "metrics": {"employees": 45}, "twitter": {"handle": "bycb"}, "phone": None,
                        "geo": {"streetNumber": "1", "streetName": "Via Roma", "city": "Milano", "postalCode": "20121", "state": None, "country": "Italy"},
                        "linkedin": {"handle": "company/bycb"}, "crunchbase": None, "tech": []})

    def apollo(self, path, query, body, kind, count):
        if kind == "plan":
            return self.send(403, {"error": "api/v1/people/match is not accessible with this api_key", "error_code": "API_INACCESSIBLE"})
        person = None if kind == "nobody" else {"id": "p1", "name": "Ada", "title": "CTO", "linkedin_url": "http://www.linkedin.com/in/ada",
                                                "twitter_url": None, "seniority": "c_suite", "organization": {"name": "By Apollo"}}
        self.send(200, {"person": person, "request_id": 1}, headers={"x-rate-limit-minute": "200", "x-minute-requests-left": "199"})

    def acme(self, path, query, body, kind, count):
        if kind == "busy" and count == 1:
            return self.send(418, {"fault": {"why": "teapot", "text": "Come back soon"}}, headers={"Retry-After": "0"})
        if not body or body.get("who", {}).get("mail") is None:
            return self.send(400, {"fault": {"why": "mail", "text": "mail is missing"}})
        self.send(200, {"hits": [{"kind": "phone", "value": "+33 1 02 03 04 05"}, {"kind": "web", "value": "https://acme.example/x"}], "trust": 0.66})

    def ted(self, path, query, body, kind, count):
        if path != "notices/search" or "query" not in body or body["limit"] > 250:
            return self.send(400, {"message": "bad query", "error": {"type": "QUERY_SYNTAX_ERROR"}})
        def notice(number, deadline):
            return {"publication-number": number, "publication-date": "2026-11-20+01:00", "notice-title": {"eng": "Works " + number, "fra": "Travaux " + number},
                    "buyer-name": {"fra": ["Ville de Lyon"]}, "classification-cpv": ["45000000"], "place-of-performance": ["FRA"],
                    "deadline-receipt-tender-date-lot": [deadline],
                    "links": {"html": {"ENG": "https://ted.europa.eu/en/notice/" + number, "FRA": "https://ted.europa.eu/fr/notice/" + number}}}
        self.send(200, {"notices": [notice("1-2026", "2099-02-28+01:00"), notice("2-2026", "2020-01-01+01:00")], "totalNoticeCount": 2, "timedOut": False})

    def site(self, path, query, body, kind, count):
        html = "text/html"
        if path == "":
            return self.send(301, b"", html, {"Location": "/site/step"})
        if path == "step":
            return self.send(302, b"", html, {"Location": "../site/home"})
        if path == "loop":
            return self.send(302, b"", html, {"Location": "/site/loop"})
        if path == "away":
            return self.send(302, b"", html, {"Location": "http://localhost:%d/site/home" % self.server.server_address[1]})
        if path == "huge":
            return self.send(200, b"<title>x</title>" + b"x" * 3000000, html)
        if path == "latin2":
            return self.send(200, "<title>Łódź Spółka</title><a href='tel:+48%20123%20456'>t</a>".encode("iso-8859-2"), "text/html; charset=ISO-8859-2")
        if path == "sjis":
            return self.send(200, b"<meta charset=shift_jis><title>" + "東京".encode("shift_jis") + b"</title>", html)
        if path == "utf16":
            return self.send(200, "\ufeff<title>Ünï</title>".encode("utf-16-le"), html)
        if path == "bytes":
            return self.send(200, b"<title>\xff\xfe\x00\x81bad</title>", "text/html; charset=no-such")
        if path == "gone":
            return self.send(404, b"<title>gone</title>", html)
        if path == "empty":
            return self.send(200, b"", html)
        self.send(200, b"<html lang=fr><title>Accueil</title><a href=/blog/>b</a><a href='https://www.linkedin.com/company/accueil'>l</a>"
                       b"<a href='mailto:contact@accueil.example'>m</a></html>", html)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
