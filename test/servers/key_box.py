#!/usr/bin/python3
"""Boxes of src/distribute/key_exchange.c, made and opened by another implementation.

usage: key_box.py public MASTER            the public key of a node with that master key
       key_box.py seal PUBLIC KEYS         a box for that public key
       key_box.py open MASTER BOX          what is in it; exit status 1: not for that node
All of it hexadecimal.  X25519 and AES-GCM by python3-cryptography.
"""
import hmac
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def pair_of(master):
    return X25519PrivateKey.from_private_bytes(hmac.digest(master, b"exchange of cluster keys v1", "sha256"))


def public_of(pair):
    return pair.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def cipher(mine, theirs, sender, receiver):
    shared = mine.exchange(X25519PublicKey.from_public_bytes(theirs))
    return AESGCM(hmac.digest(shared, b"box of cluster keys v1\0" + sender + receiver, "sha256"))


def seal(receiver, keys):
    mine = X25519PrivateKey.generate()
    sender = public_of(mine)
    sealed = cipher(mine, receiver, sender, receiver).encrypt(bytes(12), keys, None)
    return sender + sealed[-16:] + sealed[:-16]         # a library of Python's puts the tag at the end


def open_box(master, box):
    mine = pair_of(master)
    sender, tag, sealed = box[:32], box[32:48], box[48:]
    return cipher(mine, sender, sender, public_of(mine)).decrypt(bytes(12), sealed + tag, None)


command, *arguments = sys.argv[1:]
arguments = [bytes.fromhex(a) for a in arguments]
try:
    print({"public": lambda m: public_of(pair_of(m)), "seal": seal, "open": open_box}[command](*arguments).hex())
except InvalidTag:
    sys.exit(1)
