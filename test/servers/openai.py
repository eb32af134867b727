"""A chat service that speaks OpenAI's protocol on loopback, errors included.

The API key says how it behaves: good, unknown (401), quota (429, useless to
repeat), pace (429 once, with retry-after-ms), broken (truncated JSON once),
html (200 with HTML once), refuse (content null), down (503 once), cut (finish_reason length once).
Prints its port; writes each request as a line of JSON to the file given.
"""
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

seen = {}
lock = threading.Lock()
log = open(sys.argv[1], "a", buffering=1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, headers=None, content_type="application/json"):
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def error(self, status, code, message, headers=None):
        self.answer(status, json.dumps({"error": {
            "message": message, "type": code, "param": None, "code": code}}), headers)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        # Azure has a header of its own; a service on one's own machine needs no key.
        auth = next((name for name in ("authorization", "api-key") if name in self.headers), "none")
        key = self.headers.get(auth, "sk-test-key-good").removeprefix("Bearer ")
        with lock:
            seen[key] = first = seen.get(key, 0) + 1
            log.write(json.dumps({"path": self.path, "key": key, "auth": auth, "body": body}) + "\n")
        kind = key.removeprefix("sk-test-key-")
        once = first == 1
        if self.path != "/v1/chat/completions":
            return self.error(404, "not_found", "no such path")
        if kind == "quota":
            return self.error(429, "insufficient_quota", "You exceeded your current quota")
        if kind == "pace" and once:
            return self.error(429, "rate_limit_exceeded", "Slow down", {"retry-after-ms": "50"})
        if kind == "down" and once:
            return self.error(503, "overloaded", "Overloaded", {"Retry-After": "0"})
        if kind == "html" and once:
            return self.answer(200, "<html>gateway</html>", content_type="text/html")
        if kind not in ("good", "pace", "broken", "html", "refuse", "down", "cut"):
            return self.error(401, "invalid_api_key", "Incorrect API key provided: " + key)
        task = body["messages"][0]["content"]
        if "tone" in task:
            content = {"sentiment": "negative"}
        elif "sales analyst" in task:
            content = {"insights": ["Le volume <b>monte</b>.", "Les réponses suivent."], "recommendations": ["Relancer mardi."]}
        elif '"competitors"' in task:
            content = {"competitors": [{"name": "Rival SA", "website": "rival.example", "note": "Sells the same"},
                                       {"name": " ", "website": "javascript:alert(1)", "note": ""}], "confidence": 0.95}
        elif '"suggestions"' in task:
            content = {"suggestions": [{"type": "channel_mix", "change": "Write by LinkedIn first", "expected": "More answers", "confidence": 2, "reasoning": "37 % against 9 %"},
                                       {"type": "no_such_type", "change": "x", "expected": "", "confidence": 0, "reasoning": ""}]}
        elif "next action" in task:
            content = {"next_action": "Call on Tuesday"}
        else:
            content = {"subject": "From the service", "content": "Written by the service for " + body["messages"][1]["content"][:40]}
        message = {"role": "assistant", "content": json.dumps(content), "refusal": None}
        finish = "stop"
        if kind == "refuse":
            message.update(content=None, refusal="I cannot do that")
        if kind == "cut" and once:
            message["content"] = '{"subject": "Fro'
            finish = "length"
        text = json.dumps({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": finish, "logprobs": None, "message": message}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}})
        if kind == "broken" and once:
            text = text[: len(text) // 2]
        self.answer(200, text, {"x-request-id": "req_1"})


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
