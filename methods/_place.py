"""Where a text tower's files are: a repository on the Hugging Face hub, or a folder on this machine."""

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.contracts import InputError, Json
from methods._named import NAMED, known

_WEIGHTS = (  # in open_clip's order, then those of transformers
    *("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"),
    *("open_clip_pytorch_model.bin", "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin"),
)


@dataclass(frozen=True)
class Place:
    """A repository on the hub at a revision, or a folder.

    Attributes:
        repository: OWNER/NAME; empty for a folder.
        revision: A commit, branch or tag of the repository; empty for its main branch.
        folder: Where the files are; None on the hub.
    """

    repository: str = ""
    revision: str = ""
    folder: Path | None = None

    @classmethod
    def of(cls, name: str) -> "Place | None":
        """Return the place that `hf-hub:OWNER/NAME[@REVISION]`, `local-dir:PATH` or a short name means, or None.

        Raises:
            InputError: It is written otherwise, or the folder is not there.
        """
        scheme, colon, rest = name.partition(":")
        if name in NAMED:
            return cls(NAMED[name].repository, NAMED[name].revision)
        if (scheme, colon) == ("local-dir", ":"):
            if not (folder := Path(rest)).is_dir() or not rest:
                raise InputError(f"there is no folder for the text tower at {rest!r}; write local-dir:PATH")
            return cls(folder=folder)
        if (scheme, colon) != ("hf-hub", ":"):
            return None
        repository, _, revision = rest.partition("@")
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
            raise InputError(f"the text tower {name!r} is no model on the hub; write hf-hub:OWNER/NAME")
        return cls(repository, revision or known(repository, "").revision)

    @property
    def title(self) -> str:
        """Name it for print, without any path."""
        if self.folder is not None:
            return f"local-dir:{self.folder.name}"
        return f"hf-hub:{self.repository}" + f"@{self.revision}" * bool(self.revision)

    @property
    def path(self) -> str:
        """Name it so that `of` finds it again."""
        return self.title if self.folder is None else f"local-dir:{self.folder}"

    def find(self, names: Sequence[str]) -> Path | None:
        """Return the first of these files that is there; None where it is known that none is.

        Raises:
            InputError: Neither cache nor hub can say.
        """
        if self.folder is not None:
            return next((file for name in names if (file := self.folder / name).is_file()), None)
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RevisionNotFoundError
        from huggingface_hub.errors import RepositoryNotFoundError as NotFoundError

        unanswered: Exception | None = None
        for name in names:
            try:
                return self._fetch(name)
            except LocalEntryNotFoundError as error:  # no answer; a later one may be in the cache
                unanswered = error
            except EntryNotFoundError:
                continue
            except RevisionNotFoundError as error:
                raise InputError(
                    f"{self.repository} has no revision {self.revision!r} on the hub; name one of its commits, "
                    "branches or tags behind the @, or leave it out"
                ) from error
            except NotFoundError as error:
                raise InputError(
                    f"the hub has no model {self.repository} for everybody; correct the name, or log in if it is "
                    "private or gated (hf auth login)"
                ) from error
            except Exception as error:  # the hub's client lets through errors of the network, the disk and its own
                unanswered = error
        if unanswered is not None:
            raise InputError(
                f"{self.title} is not in the hub's cache and the hub does not answer ({type(unanswered).__name__}); "
                "go online, or copy the model's files here and give --text-tower local-dir:PATH"
            ) from unanswered
        return None

    def _fetch(self, name: str) -> Path:
        """Return a file from the hub's cache, after downloading it if need be."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # a word on each retry would bury ours
        revision = self.revision or None
        try:
            return Path(hf_hub_download(self.repository, name, revision=revision, local_files_only=True))
        except LocalEntryNotFoundError:
            return Path(hf_hub_download(self.repository, name, revision=revision))

    def json(self, name: str) -> dict[str, Json] | None:
        """Return what a JSON file holds; None where there is none.

        Raises:
            InputError: It is no JSON, or no mapping; or the hub does not answer.
        """
        file = self.find([name])
        if file is None:
            return None
        try:
            content = json.loads(file.read_text("utf-8"))
        except (ValueError, OSError, RecursionError) as error:
            raise InputError(f"{name} of {self.title} cannot be read as JSON ({error}); get it anew") from error
        if not isinstance(content, dict):
            raise InputError(f"{name} of {self.title} holds no mapping, so it describes no model; get it anew")
        return content

    def weights(self) -> Path:
        """Return the file of the weights.

        Raises:
            InputError: There is none, or a folder has several of which none bears a usual name.
        """
        stated = known(self.repository, self.revision).file
        file = self.find([stated] if stated else _WEIGHTS)
        if file is None and self.folder is not None:
            found = sorted(p for p in self.folder.iterdir() if p.suffix in (".safetensors", ".bin", ".pt", ".pth"))
            file = found[0] if len(found) == 1 else None
        if file is None:
            raise InputError(
                f"{self.title} has no file of weights that could be told from others; it must be called one of "
                f"{', '.join(_WEIGHTS)}"
            )
        return file
