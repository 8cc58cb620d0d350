"""What a stranger on the same machine may try on a port: every attempt in turn, and what came back."""

import itertools
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgpack
import psutil

TIMEOUT_S = 2.0
Attempt = Callable[[int], bytes]


def listening(process: psutil.Process) -> dict[int, str]:
    """Return the TCP ports that a process and those below it listen on, by their address."""
    found = {}
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):
            found |= {c.laddr.port: c.laddr.ip for c in one.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    return found


def frames(message: object) -> bytes:
    """Return a message as dask puts it on the wire: the length of all, then frames behind their number and lengths."""
    body = msgpack.packb(message)
    parts = [msgpack.packb({"compression": None, "frame-lengths": [], "frame-splits": []}), body]
    content = struct.pack(f"<{1 + len(parts)}Q", len(parts), *map(len, parts)) + b"".join(parts)
    return struct.pack("<Q", len(content)) + content


HANDSHAKE = frames({"compression": None, "python": [3, 11, 0], "pickle-protocol": 5})
HTTP = b"GET /info/main/workers.html HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def said(port: int, content: bytes, context: ssl.SSLContext | None = None, wait_s: float = 0.02) -> bytes:
    """Return what a port answers to bytes, after TLS if there is a context; nothing where it refuses."""
    try:
        plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        with plain, context.wrap_socket(plain) if context else plain as spoken:
            spoken.sendall(content)
            spoken.settimeout(wait_s if context is None else TIMEOUT_S)
            return spoken.recv(1 << 16)
    except OSError:  # refused, reset, hung up, or silent until we went
        return b""


def trusting() -> ssl.SSLContext:
    """A client that takes any certificate and shows none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def forged(folder: Path) -> ssl.SSLContext:
    """A client that takes any certificate and shows one of its own make."""
    from distributed import Security

    security = Security.temporary()
    (folder / "cert.pem").write_text(security.tls_client_cert)
    (folder / "key.pem").write_text(security.tls_client_key)
    context = trusting()
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def attempts(folder: Path) -> Iterator[Attempt]:
    """Yield ways to get in, again and again: raw bytes, dask's own words, web pages, TLS without and with a forgery."""
    contexts = None, trusting(), forged(folder)
    run = frames(
        {"op": "run_function", "function": b"cos\nsystem\n(S'id'\ntR.", "args": [], "kwargs": {}, "reply": True}
    )
    words = [HANDSHAKE, HANDSHAKE + run, HTTP, b"", b"\0" * 8, b"\xff" * 8, struct.pack("<Q", 1 << 62), b"\x16\x03\x01"]
    for number in itertools.count():
        content = words[number % len(words)] if number % 11 else os.urandom(64)
        context = contexts[number % len(contexts)]
        yield lambda port, content=content, context=context: said(port, content, context)
