#!/usr/bin/python3
"""A mail service like SendGrid's v3 API: sendgrid.py LOG.

Prints its port, and appends each request to LOG as one line of JSON.  What it answers
goes by the recipient's name: "ok" 202; "bad" 400; "pace" 429 once, with Retry-After;
"drop" takes the request and hangs up; a key other than SG.key gets 401.
"""
import http.server, json, sys

log = open(sys.argv[1], "a", buffering=1)
paced = set()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=None, headers={}):
        data = json.dumps(body).encode() if body is not None else b""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        to = body["personalizations"][0]["to"][0]["email"]
        name = to.split("@")[0]
        log.write(json.dumps({"path": self.path, "key": self.headers["Authorization"], "body": body}) + "\n")
        if self.headers["Authorization"] != "Bearer SG.key":
            self.answer(401, {"errors": [{"message": "The provided authorization grant is invalid"}]})
        elif name.startswith("bad"):
            self.answer(400, {"errors": [{"message": "Does not contain a valid address.", "field": "personalizations.0.to.0.email"}]})
        elif name.startswith("pace") and name not in paced:
            paced.add(name)
            self.answer(429, {"errors": [{"message": "too many requests"}]}, {"Retry-After": "1"})
        elif name.startswith("drop"):
            self.close_connection = True
        else:
            self.answer(202, headers={"X-Message-Id": "sg-" + name})

    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
