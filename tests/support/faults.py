"""What can go wrong between a client and an object store, and seeded plans of it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from objectstore import Answer, Fault, Front, Line, Objects, Plan, Request, error

RETRY_AFTER_S = 1
FOR_GOOD = 10**9  # times


@dataclass(frozen=True)
class Instead:
    """Another answer in place of the right one."""

    name: str
    change: Callable[[Front, Request, Answer], Answer]

    async def send(self, front: Front, request: Request, answer: Answer, line: Line) -> None:
        """Send the other answer, whole."""
        other = self.change(front, request, answer)
        await line.send(other.head() + other.body)


@dataclass(frozen=True)
class Broken:
    """The right answer up to somewhere in its body, then something else.

    Attributes:
        name: What it is called.
        end: `reset` or `close` ends the connection, `stall` keeps it open and silent.
        part: How much of the body is sent; None does not even send the headers.
    """

    name: str
    end: str
    part: float | None

    async def send(self, front: Front, request: Request, answer: Answer, line: Line) -> None:
        """Send the part."""
        if self.part is not None:
            await line.send(answer.head() + answer.body[: int(len(answer.body) * self.part)])
        if self.end == "stall":
            await line.hang()
        elif self.end == "close":
            line.writer.close()
        else:
            line.cut()


def _dice(request: Request) -> random.Random:
    return random.Random(request.target + request.headers.get("range", ""))


def _garbage(front: Front, request: Request, answer: Answer) -> Answer:
    return replace(answer, body=_dice(request).randbytes(len(answer.body)))


def _flipped(front: Front, request: Request, answer: Answer) -> Answer:
    """Change a few bytes; in a slice's body they lie among its pixels."""
    body, dice = bytearray(answer.body), _dice(request)
    for _ in range(8):
        if body:
            body[dice.randrange(len(body) // 2, len(body))] ^= 1 << dice.randrange(8)
    return replace(answer, body=bytes(body))


def _other_slice(front: Front, request: Request, answer: Answer) -> Answer:
    """Answer with the same part of another object of the same size, as far as there is one."""
    assert isinstance(front.store, Objects)
    content, folder = front.store.content, request.key.rpartition("/")[0]
    own = content.get(request.key, b"")
    alike = [k for k in content if k.startswith(folder) and k != request.key and len(content[k]) == len(own)]
    if not alike or request.kind == "listing":
        return answer
    start, stop = request.span or (0, None)
    return replace(answer, body=content[_dice(request).choice(sorted(alike))][start:stop])


def _short_listing(front: Front, request: Request, answer: Answer) -> Answer:
    """Leave out the end of a listing and say that this is all, as a store does that lost its last page."""
    if request.kind != "listing":
        return answer
    entries = answer.body.split(b"<Contents>")
    kept = entries[: max(1, len(entries) * 3 // 4)]
    before = b"<Contents>".join(kept).replace(b"<IsTruncated>true", b"<IsTruncated>false")
    return replace(answer, body=before if before.endswith(b"</ListBucketResult>") else before + b"</ListBucketResult>")


FAULTS: tuple[Fault, ...] = (
    Instead("500", lambda *_: error(500, "InternalError")),
    Instead("503", lambda *_: error(503, "SlowDown", **{"Retry-After": str(RETRY_AFTER_S)})),
    Broken("reset in mid-body", "reset", 0.5),
    Broken("closed in mid-body", "close", 0.5),
    Broken("closed before an answer", "close", None),
    Instead("short, and says so", lambda f, r, a: replace(a, body=a.body[: len(a.body) // 2])),
    Instead("long, and says so", lambda f, r, a: replace(a, body=a.body + b"\0" * 100)),
    Instead("empty", lambda f, r, a: replace(a, body=b"")),
    Instead("garbage", _garbage),
    Instead("flipped bits", _flipped),
    Instead("another slice", _other_slice),
    Instead("gone", lambda *_: error(404, "NoSuchKey")),
    Instead("listing without its end", _short_listing),
    Broken("stall before an answer", "stall", None),
    Broken("stall in mid-body", "stall", 0.5),
)


def always(fault: Fault, kind: str = "", times: int = FOR_GOOD) -> Plan:
    """Let a fault strike the first so many times that anything of a kind (or of every kind) is asked for."""
    return lambda request, again: fault if again < times and kind in ("", request.kind) else None


def named(name: str) -> Fault:
    """Return the fault of this name."""
    return next(fault for fault in FAULTS if fault.name == name)


KINDS = ("listing", "head", "body")


def seeded(seed: int) -> Plan:
    """Return a plan: first each fault at everything of one kind, for good (a stall twice), then mixtures by chance."""
    if seed < len(FAULTS) * len(KINDS):
        fault = FAULTS[seed // len(KINDS)]
        return always(fault, KINDS[seed % len(KINDS)], 2 if fault.name.startswith("stall") else FOR_GOOD)
    dice = random.Random(seed)
    strikes = [
        (fault, dice.sample(KINDS, dice.randint(1, 3)), dice.choice((0.03, 0.2, 1.0)), dice.choice((1, 1, 3, FOR_GOOD)))
        for fault in dice.sample(FAULTS, dice.randint(1, 3))
    ]

    def plan(request: Request, again: int) -> Fault | None:
        for number, (fault, kinds, share, times) in enumerate(strikes):
            one = random.Random(f"{seed} {number} {request.key} {request.headers.get('range')}")
            if request.kind in kinds and one.random() < share and again < times:
                return fault
        return None

    return plan
