"""A run's records in one file: packed to be published, unpacked for as long as they are read."""

import io
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark.contracts import InputError
from benchmark.files import write_atomically
from benchmark.run import Run

MOST = 2**30  # bytes unpacked: a run of quick has 40 MB, and a small file may promise terabytes


def pack(folder: Path, file: Path) -> int:
    """Write run.json, cohort.csv and every record of a run into one .tar.xz; return how many records.

    The same files give the same bytes. Weights stay behind.

    Raises:
        InputError: There is no run.
    """
    run = Run.open(folder)
    paths = sorted(run.path(spec) for spec in run.specs())
    made = io.BytesIO()
    with lzma.open(made, "wb", preset=6) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for path in [folder / "run.json", folder / "cohort.csv", *paths]:
            content = path.read_bytes()
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    write_atomically(file, made.getvalue())
    return len(paths)


@contextmanager
def opened(run: Path) -> Iterator[Path]:
    """Yield the folder of a run: the one that is named, or that of a packed one, unpacked until the end.

    Raises:
        InputError: The file is no packed run, or a damaged one, or unpacks to more than a run can be.
    """
    if not run.is_file():
        yield run
        return
    with TemporaryDirectory() as folder:
        try:
            with tarfile.open(run) as archive:
                total = 0
                for entry in archive:  # one by one: a header tells the size before anything is unpacked
                    total += entry.size
                    if total > MOST:
                        raise InputError(f"{run} unpacks to more than {MOST // 2**20:,} MiB, which no run has")
                    archive.extract(entry, folder, filter="data")
        except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
            raise InputError(f"{run} is no packed run, or a damaged one ({error}): give the folder of a run") from error
        yield Path(folder)
