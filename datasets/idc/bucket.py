"""Bucket: reads from a public object store, without an account, and with what is to be said when one fails.

obstore makes the requests: anonymous, in ranges, tried again with a growing wait after 5xx, a lost connection or a
stall. What it cannot see is checked here and by whoever asked: that a body is the object that was listed.
"""

import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from benchmark.contracts import InputError
from datasets.dicom.files import Refused

NAME = "idc-open-data"
ENDPOINT = "https://s3.us-east-1.amazonaws.com"
REGION = "us-east-1"
RETRIES = 3  # by obstore, of one request
TIMEOUT_S = 30.0
WAIT = 1 / 15  # of the time that a connection may be silent: before something is tried again, and then ever longer
FAILED_IN_A_ROW = 8  # and one more for each connection: then the store is taken for gone
_MD5 = re.compile(r"[0-9a-f]{32}")

Answer = TypeVar("Answer")


class Passing(Refused):
    """A request that failed in a way that may be over another time."""


class Lacking(Refused):
    """The store answered, and does not have what was asked for, or something else in its place."""


@dataclass(frozen=True)
class Object:
    """An object as the store lists it.

    Attributes:
        key: Its name in the bucket, folder included.
        size: In bytes.
        tag: The store's ETag: of an object put in one piece, the MD5 of its bytes.
    """

    key: str
    size: int
    tag: str

    @property
    def name(self) -> str:
        """Its name without the folder."""
        return self.key.rpartition("/")[2]

    @property
    def has_md5(self) -> bool:
        """Whether its tag is an MD5: that of an object put in several pieces has a hyphen and is none."""
        return bool(_MD5.fullmatch(self.tag))

    def holds(self, data: bytes) -> bool:
        """Return whether these are its bytes, as far as its tag tells."""
        return not self.has_md5 or hashlib.md5(data, usedforsecurity=False).hexdigest() == self.tag


class Bucket:
    """The bucket `idc-open-data`, at the Imaging Data Commons or at a mirror.

    Attributes:
        endpoint: The store's address.
        connections: Requests at once that its user will make.
        timeout_s: How long a connection may be silent.
        received: Bytes of objects so far.
    """

    def __init__(self, endpoint: str = ENDPOINT, connections: int = 32, timeout_s: float = TIMEOUT_S) -> None:
        """Note where it is; nothing is asked of it yet.

        Raises:
            InputError: The endpoint is no address.
        """
        address = urlsplit(endpoint)
        if address.scheme not in ("http", "https") or not address.hostname or address.query or address.fragment:
            raise InputError(f"--idc-endpoint {endpoint!r} is no address of an object store: give https://HOST[:PORT]")
        self.endpoint, self.connections, self.timeout_s, self.received = endpoint, connections, timeout_s, 0
        self._store, self._lock, self._failed = self._opened(RETRIES), threading.Lock(), 0
        self._closed = threading.Event()

    def probe(self, folder: str) -> None:
        """Ask whether there is a store that has the bucket at all.

        Raises:
            InputError: There is none, or something else answers in its place.
        """
        store = self._opened(1)
        try:
            if self._first_listing(store, folder):
                return
            obstore.get(store, f"{folder}/probe")  # a listing that is a web page is an empty one to obstore
        except FileNotFoundError:
            return  # a store it is, though one without the folder
        except BaseError as error:
            said = reason(error)
            if "404" in said:
                raise InputError(
                    f"{self.endpoint} has no bucket {NAME!r}: give another --idc-endpoint, or leave it out"
                ) from error
            if re.search(r"\b5\d\d\b", said):
                return  # it is there, and may be itself again for the next request
            raise InputError(
                f"the object store {self.endpoint} cannot be read ({said}): see to the network or the proxy, or give "
                "another --idc-endpoint, and run the same command again"
            ) from error
        raise InputError(
            f"{self.endpoint} answers, but not as an object store does; a proxy's or a login page, perhaps: see to the "
            "network, or give another --idc-endpoint, and run the same command again"
        )

    def _first_listing(self, store: S3Store, folder: str) -> int:
        """Return how many objects a folder has; a listing that breaks off is asked for again, as obstore does not."""
        for _ in range(RETRIES):
            try:
                return len(obstore.list(store, f"{folder}/").collect())
            except BaseError as error:
                if "response body" not in str(error):
                    raise
        return len(obstore.list(store, f"{folder}/").collect())

    def list(self, folder: str) -> list[Object]:
        """Return the objects in a folder, by name.

        Raises:
            Passing: The request failed.
            InputError: So did all others of late.
        """
        found = self._ask(lambda: obstore.list(self._store, f"{folder}/").collect())
        return sorted((Object(o["path"], o["size"], (o["e_tag"] or "").strip('"')) for o in found), key=lambda o: o.key)

    def part(self, one: Object, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to `end`, which lie within the object.

        Raises:
            Passing: The request failed.
            Lacking: The object is not there, or not as listed.
            InputError: All requests fail of late.
        """
        data = self._ask(lambda: bytes(obstore.get_range(self._store, one.key, start=start, end=end)))
        if len(data) != end - start:
            raise Lacking(f"{len(data)} bytes came of {end - start}")
        return data

    def whole(self, one: Object) -> bytes:
        """Return the whole object, which is checked against its listed size and, where its tag is one, its MD5.

        Raises:
            Passing, Lacking, InputError: As `part`.
        """

        def get() -> bytes:
            answer = obstore.get(self._store, one.key)
            if (size := answer.meta["size"]) != one.size:
                raise Lacking(f"it has {size} bytes and is listed with {one.size}")
            return bytes(answer.bytes())

        data = self._ask(get)
        if len(data) != one.size:
            raise Lacking(f"{len(data)} bytes came of {one.size}")
        if not one.holds(data):
            raise Lacking("its bytes are not those that the store lists (another MD5)")
        return data

    def pause(self, times: int) -> None:
        """Wait before something is tried again, the longer the more often it was tried."""
        self._closed.wait(self.timeout_s * WAIT * 4 ** (times - 1))

    def close(self) -> None:
        """Let no further request be made: each fails."""
        self._closed.set()

    def _ask(self, request: Callable[[], Answer]) -> Answer:
        """Make a request; count what came, and the failures since the last success."""
        if self._closed.is_set():
            raise Passing("it was not asked for any more")
        try:
            answer = request()
        except (FileNotFoundError, PermissionDeniedError, UnauthenticatedError) as error:
            raise Lacking(f"the store does not give it ({reason(error)})") from error
        except BaseError as error:
            with self._lock:
                self._failed += 1
                failed, said = self._failed, reason(error)
            if failed > FAILED_IN_A_ROW + self.connections:
                raise InputError(
                    f"the object store {self.endpoint} does not answer any more ({failed} requests in a row failed; "
                    f"{said}): run the same command again; it goes on from there"
                ) from error
            raise Passing(f"the store failed: {said}") from error
        with self._lock:
            self._failed = 0
            self.received += len(answer) if isinstance(answer, bytes) else 0
        return answer

    def _opened(self, retries: int) -> S3Store:
        silent, longest = timedelta(seconds=self.timeout_s), timedelta(seconds=20 * self.timeout_s)
        return S3Store(
            NAME,
            endpoint=self.endpoint,
            region=REGION,
            skip_signature=True,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": self.endpoint.startswith("http://"),
                "connect_timeout": min(silent, timedelta(seconds=10)),
                "read_timeout": silent,
                "timeout": longest,
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": longest,
                "backoff": {"init_backoff": WAIT * silent, "max_backoff": 8 * WAIT * silent, "base": 2},
            },
        )


def reason(error: Exception) -> str:
    """Return what an error of obstore's says, without its addresses and its debugging text.

    >>> reason(
    ...     Exception(
    ...         "Error performing GET http://a/b in 1ms, after 2 retries, max_retries: 2, retry_timeout: 60s"
    ...         "  - Server returned non-2xx status code: 503 Service Unavailable: <Error/>"
    ...     )
    ... )
    '503 Service Unavailable'
    >>> reason(
    ...     Exception("Generic S3 error: Error performing GET http://a/b in 1ms - HTTP error: error sending request")
    ... )
    'error sending request'
    """
    text = str(error).partition("\n\nDebug source")[0].splitlines()[0]
    if status := re.search(r"status code: (\d\d\d[^:]*)", text):
        return status[1].strip()
    return re.sub(r"^.* - |^Generic S3 error: |HTTP error: ", "", text)[:120]
