"""A dask cluster of this machine's processes that nobody else can talk to.

Whoever may speak to a scheduler, a nanny or a worker may run code in it, and any user of a machine may connect to its
loopback ports. So all of them speak TLS with credentials that are made for this run, and asked of both sides; the one
certificate is trusted that they share, and its key leaves the processes' memory only for a moment, in a folder of the
user's own. dask's web servers are not started: they take no credentials.
"""

from distributed import Nanny, Scheduler, Security, SpecCluster, Worker

_LOOPBACK = "127.0.0.1"


class QuietScheduler(Scheduler):
    """A scheduler without a web server."""

    def start_http_server(self, *arguments: object, **options: object) -> None:
        """Start none, also where no dashboard was asked for."""


class QuietWorker(Worker):
    """A worker without a web server."""

    def start_http_server(self, *arguments: object, **options: object) -> None:
        """Start none."""


def cluster(workers: int, silence_logs: int) -> SpecCluster:
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
    return SpecCluster(  # type: ignore[no-untyped-call]
        scheduler=scheduler,
        workers=dict.fromkeys(range(workers), worker),
        worker=worker,
        security=security,
        silence_logs=silence_logs,
    )
