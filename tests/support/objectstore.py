"""A public object store on loopback, as S3 answers: it counts what it sends, delays it, and spoils it on request.

`Front` is the server. What stands behind it is `Objects` (bytes in memory) or `Upstream` (another server, such as
moto's). A `Fault` from `faults` spoils an answer; which one, a plan decides.
"""

import asyncio
import hashlib
import http.client
import multiprocessing
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from multiprocessing.connection import Connection
from typing import Literal, Protocol
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "idc-open-data"
PAGE = 1000  # objects that S3 lists at most in one answer
HEAD_BYTES = 4 << 10
_DATE = "2023-03-10T00:00:00.000Z"

Kind = Literal["listing", "head", "body", "other"]


@dataclass(frozen=True)
class Request:
    """What a client asks for.

    Attributes:
        method: GET or HEAD.
        target: Path and query as they came.
        headers: By lower-case name.
    """

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        """The bucket and key."""
        return unquote(urlsplit(self.target).path)

    @property
    def key(self) -> str:
        """The object's name, or the prefix of a listing."""
        return self.query("prefix") if self.kind == "listing" else self.path.removeprefix(f"/{BUCKET}/")

    @property
    def span(self) -> tuple[int, int | None] | None:
        """First byte and the one after the last, if only a part is asked for."""
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        return (int(found[1]), int(found[2]) + 1 if found[2] else None) if found else None

    @property
    def kind(self) -> Kind:
        """What it is for: a head is the first bytes of an object, a body all or the rest of one."""
        if self.query("list-type"):
            return "listing"
        if self.method != "GET":
            return "other"
        return "head" if self.span and self.span[0] == 0 and self.span[1] == HEAD_BYTES else "body"

    def query(self, name: str) -> str:
        """Return a value of the query, or nothing."""
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True).get(name, [""])[0]


@dataclass(frozen=True)
class Answer:
    """What the store says; `Content-Length` is that of the body unless it stands among the headers."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def head(self) -> bytes:
        """Return the status line and headers as they are sent."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in {"Content-Length": len(self.body), **self.headers}.items()]
        return "\r\n".join([*lines, "", ""]).encode()


class Store(Protocol):
    """Whatever answers requests."""

    async def answer(self, request: Request) -> Answer:
        """Return what it says."""
        ...


def error(status: int, code: str, **headers: str) -> Answer:
    """Return an error as S3 words it."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return Answer(status, {"Content-Type": "application/xml", **headers}, body)


@dataclass
class Objects:
    """Objects in memory, readable by anyone, in the one bucket."""

    content: dict[str, bytes]

    async def answer(self, request: Request) -> Answer:
        """List objects, or return one or a part of one."""
        if request.path.strip("/").partition("/")[0] != BUCKET:
            return error(404, "NoSuchBucket")
        if request.kind == "listing":
            return self._listing(request)
        if (whole := self.content.get(request.key)) is None:
            return error(404, "NoSuchKey")
        headers = {"ETag": etag(whole), "Last-Modified": "Fri, 10 Mar 2023 00:00:00 GMT"}
        if request.span is None:
            return Answer(200, headers, whole)
        start, stop = request.span[0], min(request.span[1] or len(whole), len(whole))
        if start >= len(whole):
            return error(416, "InvalidRange")
        return Answer(206, headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(whole)}"}, whole[start:stop])

    def _listing(self, request: Request) -> Answer:
        after = max(request.query("continuation-token"), request.query("start-after"))
        keys = sorted(key for key in self.content if key.startswith(request.query("prefix")) and key > after)
        page = keys[: int(request.query("max-keys") or PAGE)]
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{_DATE}</LastModified>"
            f"<ETag>{escape(etag(self.content[key]))}</ETag><Size>{len(self.content[key])}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key in page
        )
        more = len(page) < len(keys)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><Prefix>{escape(request.query('prefix'))}</Prefix><KeyCount>{len(page)}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}"
            "</ListBucketResult>"
        )
        return Answer(200, {"Content-Type": "application/xml"}, body.encode())


_etags: dict[int, tuple[bytes, str]] = {}


def etag(content: bytes) -> str:
    """Return an object's ETag: the MD5 of what was put in one piece."""
    kept = _etags.get(id(content))
    if kept is None or kept[0] is not content:
        kept = _etags[id(content)] = content, f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
    return kept[1]


@dataclass
class Upstream:
    """Another server, asked anew for each request."""

    port: int
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(32))

    async def answer(self, request: Request) -> Answer:
        """Ask it, and return what it says."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, request)

    def _ask(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        passed = {name: value for name, value in request.headers.items() if name in ("range", "if-match")}
        connection.request(request.method, request.target, headers=passed)
        response = connection.getresponse()
        body = response.read()
        kept = {k: v for k, v in response.headers.items() if k.lower() not in ("connection", "content-length")}
        connection.close()
        return Answer(response.status, kept, body)


@dataclass
class Seen:
    """A request as the server saw it.

    Attributes:
        kind: What it was for.
        key: The object's name, or a listing's prefix.
        span: The bytes asked for, if not all.
        fault: How the answer was spoiled, or nothing.
        sent: Bytes sent, headers included.
    """

    kind: Kind
    key: str
    span: tuple[int, int | None] | None
    fault: str = ""
    sent: int = 0


class Fault(Protocol):
    """A way to spoil an answer."""

    name: str

    async def send(self, front: "Front", request: Request, answer: Answer, line: "Line") -> None:
        """Send what is left of the answer."""
        ...


Plan = Callable[[Request, int], Fault | None]
"""Which fault strikes a request, given how often the same was asked for before."""


@dataclass
class Line:
    """A connection to a client, on which what is sent is counted."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: Seen

    async def send(self, content: bytes) -> None:
        """Send, and wait until the system took it."""
        self.writer.write(content)
        self.seen.sent += len(content)
        await self.writer.drain()

    def cut(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Say nothing more until the client goes away."""
        with suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass
        self.cut()


@dataclass
class Front:
    """The server that clients talk to.

    Attributes:
        store: What answers.
        latency_s: Waited before each answer.
        plan: Which faults strike; it may be changed while nobody asks.
        seen: Every request so far.
        most_at_once: The most requests that were under way together.
        on_request: Called with each request before it is answered.
    """

    store: Store
    latency_s: float = 0.0
    plan: Plan | None = None
    seen: list[Seen] = field(default_factory=list)
    most_at_once: int = 0
    on_request: Callable[[Request], None] | None = None
    url: str = ""
    _now: int = 0
    _asked: dict[tuple[str, str], int] = field(default_factory=dict)

    def forget(self) -> None:
        """Begin to count anew."""
        self.seen, self.most_at_once, self._asked = [], 0, {}

    def sent(self) -> int:
        """Return all bytes sent, headers included."""
        return sum(one.sent for one in self.seen)

    def bodies(self) -> list[str]:
        """Return the keys of objects that were asked for beyond their head, in order, as often as they were."""
        return [one.key for one in self.seen if one.kind == "body"]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer a client's requests one after the other."""
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            while not writer.transport.is_closing():
                await self._one(_request(await reader.readuntil(b"\r\n\r\n")), reader, writer)
        writer.close()

    async def _one(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            if self.on_request:
                self.on_request(request)
            again = self._asked.get(asked := (request.target, request.headers.get("range", "")), 0)
            self._asked[asked] = again + 1
            fault = self.plan(request, again) if self.plan else None
            seen = Seen(request.kind, request.key, request.span, fault.name if fault else "")
            self.seen.append(seen)
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            answer, line = await self.store.answer(request), Line(reader, writer, seen)
            if fault:
                await fault.send(self, request, answer, line)
            else:
                await line.send(answer.head() + (b"" if request.method == "HEAD" else answer.body))
        finally:
            self._now -= 1


def _request(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    return Request(method, target, {name.lower(): value.strip() for name, _, value in pairs})


@contextmanager
def serving(front: Front) -> Iterator[Front]:
    """Run a server in a thread of its own; its address stands in `front.url`."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(front.serve, "127.0.0.1", 0, backlog=256))
    front.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield front
    finally:
        asyncio.run_coroutine_threadsafe(_stop(server), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def apart(content: dict[str, bytes], latency_s: float) -> Iterator[str]:
    """Run a server in a process of its own, so that it takes no time from the client's; give its address."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve_apart, args=(content, latency_s, there), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.kill()
        process.join()


def _serve_apart(content: dict[str, bytes], latency_s: float, there: Connection) -> None:
    with serving(Front(Objects(content), latency_s)) as front:
        there.send(front.url)
        threading.Event().wait()


@contextmanager
def moto(content: Mapping[str, bytes]) -> Iterator[Upstream]:
    """Run moto's server with these objects, each readable by anyone."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        asked = [("POST", "/moto-api/reset", b"")]  # what another test put there is still in this process
        asked += [("PUT", f"/{BUCKET}/{name}".rstrip("/"), body) for name, body in {"": b"", **content}.items()]
        for method, path, body in asked:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request(method, path, body, {"x-amz-acl": "public-read"})
            assert connection.getresponse().status == HTTPStatus.OK
            connection.close()
        yield Upstream(port)
    finally:
        server.stop()
