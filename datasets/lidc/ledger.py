"""Ledger: the hash of each slice at its first reading, so that a changed slice never makes a silent crop."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from benchmark.contracts import InputError
from benchmark.files import is_sealed, sealed, write_atomically
from datasets.dicom.files import Fault
from datasets.dicom.headers import Slice
from datasets.dicom.images import Image, image_hash, read_images

CHANGED = "its pixels are not those of its first reading"


_Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Unsealed = dict[Annotated[str, msgspec.Meta(pattern="^[0-9.]+$")], _Hash]  # what an earlier version wrote


class _Sealed(msgspec.Struct):
    series: str
    first: dict[str, _Hash]


class Ledger:
    """The hash of each slice at its first reading, by SOP instance UID."""

    def __init__(self, path: Path) -> None:
        """Read it, if there is one.

        Raises:
            InputError: It is damaged. It is never begun anew unasked: the slices as they are now would then pass for
                what they were.
        """
        self.path, self.hashes = path, dict[str, str]()
        try:
            content = path.read_bytes()
            if is_sealed(content):
                kept = msgspec.json.decode(content, type=_Sealed)
                if kept.series != path.stem:
                    raise ValueError(f"it is that of the series {kept.series}")
                self.hashes = kept.first
            else:
                self.hashes = msgspec.json.decode(content, type=_Unsealed)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"{path}, which holds the first readings of a series' slices, cannot be read ({error}): restore it, or "
                "delete it to take the slices as they are now for the first ones"
            ) from error

    def agrees(self, one: Slice, image: Image) -> bool:
        """Return whether a slice is what it was at its first reading, which this may be."""
        found = image_hash(image)
        return self.hashes.setdefault(one.sop_uid, found) == found

    def write(self) -> None:
        """Keep it, under a seal."""
        content = json.dumps({"series": self.path.stem, "first": dict(sorted(self.hashes.items()))}, indent=0)
        write_atomically(self.path, sealed(content.encode()))


def changed(root: Path, slices: Sequence[Slice], ledger: Path) -> list[Fault]:
    """Read again every slice that was read before; return those that are not what they were.

    Raises:
        InputError: The ledger is damaged.
    """
    first = Ledger(ledger)
    wanted = [one for one in slices if one.sop_uid in first.hashes]
    faults = [
        Fault(f"{ledger.stem}, SOP instance {uid}", "is no longer there, or no longer readable")
        for uid in first.hashes.keys() - {one.sop_uid for one in wanted}
    ]
    for one, image in read_images(root, wanted):
        if isinstance(image, str) or not first.agrees(one, image):
            faults.append(Fault(one.label, image if isinstance(image, str) else CHANGED))
    return faults
