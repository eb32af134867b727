"""A name server on loopback (UDP), for questions whether a domain takes mail.

The first label of the name says what it answers: mx, null (MX 0 "."), host (no MX, an address), host6, none
(no records), nx (NXDOMAIN), fail (SERVFAIL), junk (not DNS), silent (nothing at all).  Names of TEXTS have TXT
records.  Prints its port.
"""
import socket
import struct

MX, A, AAAA, TXT = 15, 1, 28, 16
# a record is a list of strings
TEXTS = {
    "good.sender": [["unrelated"], ["v=spf1 include:_spf.good", ".sender -all"]],
    "_dmarc.good.sender": [["v=DMARC1; p=reject"]],
    "s1._domainkey.good.sender": [["v=DKIM1; k=rsa; ", "p=" + "A" * 200, "B" * 150]],
    "old.sender": [["v=spf1 -all"], ["v=spf1 a -all"]],
    "_dmarc.old.sender": [["v=DMARC2; p=none"]],
    "s1._domainkey.old.sender": [["v=DKIM1; k=rsa; p="]],
    "bare.sender": [["v=spf10 -all"]],
}


def name_bytes(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".") if p) + b"\0"


def reply(query):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace").lower())
        at += 1 + query[at]
    qtype, _ = struct.unpack("!HH", query[at + 1:at + 5])
    question = query[12:at + 5]
    kind = labels[0]
    texts = TEXTS.get(".".join(labels), []) if qtype == TXT else []
    rcode, answers = 0, []
    if kind == "silent":
        return None
    if kind == "junk":
        return query[:2] + b"\xff" * 40
    if kind == "nx":
        rcode = 3
    elif kind == "fail":
        rcode = 2
    elif texts:
        answers = [(TXT, b"".join(bytes([len(t)]) + t.encode() for t in record)) for record in texts]
    elif kind in ("mx", "xn--mller-kva") and qtype == MX:
        answers = [(MX, struct.pack("!H", 10) + name_bytes("mail.example"))]
    elif kind == "null" and qtype == MX:
        answers = [(MX, struct.pack("!H", 0) + b"\0")]
    elif kind == "host" and qtype == A:
        answers = [(A, socket.inet_aton("192.0.2.1"))]
    elif kind == "host6" and qtype == AAAA:
        answers = [(AAAA, socket.inet_pton(socket.AF_INET6, "2001:db8::1"))]
    head = query[:2] + struct.pack("!HHHHH", 0x8180 | rcode, 1, len(answers), 0, 0)
    return head + question + b"".join(b"\xc0\x0c" + struct.pack("!HHIH", t, 1, 60, len(d)) + d for t, d in answers)


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    data, peer = server.recvfrom(4096)
    answer = reply(data)
    if answer:
        server.sendto(answer, peer)
