"""A dask cluster of this machine's processes that nobody else can talk to.

Whoever may speak to a scheduler, a nanny or a worker may run code in it, and any user of a machine may connect to its
loopback ports. So all of them speak TLS with credentials that are made for this run, and asked of both sides; the one
certificate is trusted that they share, and its key leaves the processes' memory only for a moment, in a folder of the
user's own. dask's web servers are not started: they take no credentials.
"""

from collections.abc import Collection

from distributed import Nanny, Scheduler, Security, SpecCluster, Status, Worker

_LOOPBACK = "127.0.0.1"
_TRIES = 10  # to start anew what died in its start


class QuietScheduler(Scheduler):
    """A scheduler without a web server."""

    def start_http_server(self, *arguments: object, **options: object) -> None:
        """Start none, also where no dashboard was asked for."""


class QuietWorker(Worker):
    """A worker without a web server."""

    def start_http_server(self, *arguments: object, **options: object) -> None:
        """Start none."""


class LocalCluster(SpecCluster):
    """A scheduler in this process, and workers under nannies, which replace those that die once they had begun."""

    _tries = 0

    def tend(self) -> str:
        """Start workers anew that died in their very start, with their nannies; there is never trouble to tell of."""
        dead = [name for name, nanny in dict(self.workers).items() if nanny.status is Status.failed]
        if dead and self._tries < _TRIES:
            self._tries += 1
            self.sync(self._forget, dead)  # type: ignore[no-untyped-call]
            self.scale(len(self.worker_spec))  # type: ignore[no-untyped-call]  # which starts what is not there
        return ""

    async def _forget(self, names: Collection[object]) -> None:
        for name in names:
            self.workers.pop(name, None)


def cluster(workers: int, silence_logs: int) -> LocalCluster:
    """Start a scheduler in this process, and worker processes of one thread, each under a nanny in this process.

    Args:
        workers: How many.
        silence_logs: The level up to which dask logs nothing.

    Raises:
        Exception: No loopback, no process, or a configuration of dask's that makes no sense.
    """
    security = Security.temporary()  # type: ignore[no-untyped-call]
    shared: dict[str, object] = {"host": _LOOPBACK, "protocol": "tls://", "security": security}
    scheduler = {"cls": QuietScheduler, "options": shared | {"port": 0, "dashboard": False}}
    options = {"nthreads": 1, "memory_limit": 0, "silence_logs": silence_logs, "worker_class": QuietWorker}
    worker = {"cls": Nanny, "options": shared | options}
    return LocalCluster(  # type: ignore[no-untyped-call]
        scheduler=scheduler,
        workers=dict.fromkeys(range(workers), worker),
        worker=worker,
        security=security,
        silence_logs=silence_logs,
    )
