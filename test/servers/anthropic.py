"""A chat service that speaks Anthropic's Messages protocol on loopback.

The x-api-key says how it behaves: good (tool_use), words (text only), unknown (401, quoting the key),
overloaded (529 once), pace (429 with retry-after once), cut (stop_reason max_tokens once), refuse (stop_reason
refusal), credit (400).  Prints its port; writes each request as a line of JSON to the file given.
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

    def answer(self, status, body, headers=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("request-id", "req_011")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def error(self, status, kind, message, headers=None):
        self.answer(status, {"type": "error", "error": {"type": kind, "message": message}}, headers)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers.get("x-api-key", "")
        with lock:
            seen[key] = first = seen.get(key, 0) + 1
            log.write(json.dumps({"path": self.path, "version": self.headers.get("anthropic-version"), "body": body}) + "\n")
        kind = key.rpartition("-")[2]
        once = first == 1
        if self.path != "/v1/messages" or self.headers.get("anthropic-version") is None:
            return self.error(404, "not_found_error", "Not found")
        if not isinstance(body.get("max_tokens"), int):
            return self.error(400, "invalid_request_error", "max_tokens: Field required")
        if kind == "unknown":
            return self.error(401, "authentication_error", "invalid x-api-key " + key)
        if kind == "credit":
            return self.error(400, "invalid_request_error", "Your credit balance is too low")
        if kind == "overloaded" and once:
            return self.error(529, "overloaded_error", "Overloaded")
        if kind == "pace" and once:
            return self.error(429, "rate_limit_error", "Slow down", {"retry-after": "1"})
        schema = body["tools"][0]["input_schema"]
        answer = {name: "positive" if name == "sentiment" else "A " + name for name in schema["properties"]}
        content = [{"type": "tool_use", "id": "toolu_1", "name": "answer", "input": answer}]
        stop = "tool_use"
        if kind == "words":
            content = [{"type": "text", "text": "Here it is:\n```json\n" + json.dumps(answer) + "\n```"}]
            stop = "end_turn"
        if kind == "cut" and once:
            content = [{"type": "tool_use", "id": "toolu_1", "name": "answer", "input": {}}]
            stop = "max_tokens"
        if kind == "refuse":
            content, stop = [], "refusal"
        self.answer(200, {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": content,
                          "stop_reason": stop, "stop_sequence": None, "usage": {"input_tokens": 1000, "output_tokens": 100}})


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
