#!/usr/bin/python3
"""A mail server that keeps what it gets: smtp_sink.py DIRECTORY.

Writes its port to DIRECTORY/port, and each mail to DIRECTORY/mail.N with the
envelope in the first line.  A sender or recipient at "refused.test" gets 550.
"""
import os, socketserver, sys

directory = sys.argv[1]
count = 0

class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        global count
        sender, people = None, []
        self.say("220 sink")
        while True:
            line = self.rfile.readline(2048).decode("latin-1").rstrip("\r\n")
            word = line.upper()
            if line == "" or word == "QUIT":
                self.say("221 bye")
                return
            if word.startswith(("EHLO", "HELO")):
                self.say("250 sink")
            elif word.startswith(("MAIL FROM", "RCPT TO")):
                if "refused.test" in line:
                    self.say("550 not here")
                    continue
                address = line[line.index("<") + 1:line.index(">")]
                if word.startswith("MAIL"):
                    sender, people = address, []
                else:
                    people.append(address)
                self.say("250 ok")
            elif word == "DATA":
                self.say("354 go on")
                body = b""
                while True:
                    part = self.rfile.readline(65536)
                    if part in (b".\r\n", b""):
                        break
                    body += part[1:] if part.startswith(b".") else part
                count += 1
                name = os.path.join(directory, "mail.%d" % count)
                with open(name + ".new", "wb") as f:
                    f.write(("%s > %s\n" % (sender, " ".join(people))).encode() + body)
                os.rename(name + ".new", name)
                self.say("250 kept")
            elif word in ("RSET", "NOOP"):
                self.say("250 ok")
            else:
                self.say("502 what")

with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
    server.daemon_threads = True
    with open(os.path.join(directory, "port.new"), "w") as f:
        f.write(str(server.server_address[1]))
    os.rename(os.path.join(directory, "port.new"), os.path.join(directory, "port"))
    server.serve_forever()
