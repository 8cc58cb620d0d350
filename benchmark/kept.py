"""What a rerun looks at of the weights that finished fits kept, so that damage is seen before they are needed.

Whoever uses weights checks the whole file against its hash (`weights.read`). A rerun does so too while they are few; of
more it reads beginnings and sizes alone, which show what was cut, emptied, begun otherwise or put in another's place.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmark.extras import LIMIT
from benchmark.files import sha256, stamp
from benchmark.records import FitRecord, FitSpec, Found
from benchmark.run import Run
from benchmark.runfile import refuse
from benchmark.weightfiles import of_content

_LONGEST = 10**8  # bytes of a header, as safetensors itself has it


class _Place(msgspec.Struct):
    data_offsets: tuple[int, int]


def damaged(run: Run, found: Found, most: int = LIMIT) -> dict[FitSpec, str]:
    """Return why the weights of finished fits cannot be used, by fit; a file that is not there is no damage.

    Args:
        run: Their run.
        found: Fits with their records.
        most: Bytes of all weights together up to which they are read whole.

    Raises:
        InputError: A file cannot be read.
    """
    paths = {run.weights_path(record.spec): record for record in _that_kept(found)}
    is_little = sum(there[1] for path in paths if (there := stamp(path))) <= most
    return {record.spec: why for path, record in paths.items() if (why := _fault(path, record, is_little))}


def lost(run: Run, found: Found) -> list[str]:
    """Say which weights were kept and are gone: nothing is trained again for them."""
    gone = [record.spec for record in _that_kept(found) if not run.weights_path(record.spec).exists()]
    if not gone:
        return []
    return [
        f"the kept weights of {len(gone)} finished fits are gone, {gone[0].path().with_suffix('.safetensors')} first; "
        "figures and predictions need them; delete the records of these fits to make them anew"
    ]


def _that_kept(found: Found) -> Iterator[FitRecord]:
    return (record for record in found.values() if record and record.metadata.weights)


def _fault(path: Path, record: FitRecord, is_whole: bool) -> str:
    """Say what is wrong with a file of weights that is there, as far as its beginning and size tell, or all of it."""
    try:
        with path.open("rb") as file:
            beginning = file.read(8)
            (length,) = struct.unpack("<Q", beginning)
            beginning += file.read(min(length, _LONGEST))
            places = msgspec.json.decode(beginning[8:], type=dict[str, msgspec.Raw])
            ends = [
                msgspec.json.decode(place, type=_Place).data_offsets[1]
                for name, place in places.items()
                if name != "__metadata__"
            ]
            about = of_content(beginning)
            rest = file.read() if is_whole else b""
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:  # taken away, perhaps by another command just now
        return ""
    except (ValueError, struct.error, RecursionError):
        return "its kept weights are damaged"
    except OSError as error:
        refuse(error)
    if about is None or size != len(beginning) + max(ends, default=0):
        return "its kept weights are damaged"
    if (about.spec, about.key) != (record.spec, record.key):
        return "its kept weights are those of another fit"
    if is_whole and sha256(beginning + rest) != record.metadata.weights:
        return "its kept weights are damaged, or of another training"
    return ""
