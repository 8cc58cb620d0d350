"""OpenAI's weights of CLIP ViT-B/16: where they come from, and whether a file holds them.

open_clip would take other weights of the same shape without a word, so all that it does not notice is checked here.
Whatever is wrong with the weights is the user's input, and is refused before any training. What fits and looks right
may still be anybody's: OpenAI's is the file whose hash stands in open_clip's own table, and no other.
"""

import hashlib
import logging
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchmark.contracts import InputError

ARCHITECTURE = "ViT-B-16-quickgelu"  # see methods._tower
_HUB_REPOSITORY = "timm/vit_base_patch16_clip_224.openai"
_HUB_FILE = "open_clip_model.safetensors"
_REMEDY = (
    f"get OpenAI's own ViT-B-16.pt, or {_HUB_FILE} of {_HUB_REPOSITORY} from the Hugging Face hub, "
    "and name it with --text-tower PATH"
)
_ARCHIVE_EXTRAS = ("input_resolution", "context_length", "vocab_size")  # numbers among the weights of OpenAI's archive


def openai_weights(path: str | None, expected: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Return OpenAI's weights, and whether their file is one that OpenAI published.

    Args:
        path: Their file; None takes them from the hub's cache or the hub.
        expected: Names and shapes of the model's weights.

    Raises:
        InputError: They cannot be had (no such file, a damaged one, no answer from the hub), or the file holds
            others: of another shape, by somebody else, or untrained.
    """
    file = Path(path) if path is not None else _hub_file()
    weights = read(file, _REMEDY)
    _check(file, weights, expected)
    return weights, sha256_of(file) == published_sha256()


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def published_sha256() -> str:
    """Return the hash of OpenAI's file, which stands in its address in open_clip's table of pretrained weights."""
    from open_clip import get_pretrained_cfg

    address: str = get_pretrained_cfg(ARCHITECTURE, "openai")["url"]
    sha256 = address.split("/")[-2]
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"open_clip no longer publishes the hash of OpenAI's weights in their address {address}")
    return sha256


def published_archives() -> frozenset[str]:
    """Return the hashes of the TorchScript archives that open_clip's table knows: OpenAI's, of each size."""
    from open_clip import get_pretrained_cfg, list_pretrained_models_by_tag

    addresses = [get_pretrained_cfg(name, "openai")["url"] for name in list_pretrained_models_by_tag("openai")]
    return frozenset(found[0] for address in addresses if (found := re.findall("(?<=/)[0-9a-f]{64}(?=/)", address)))


def _hub_file() -> Path:
    """Return the weights in the hub's cache, after downloading them if need be."""
    from huggingface_hub import hf_hub_download

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # a word on each retry would bury ours
    try:
        return Path(hf_hub_download(_HUB_REPOSITORY, _HUB_FILE, local_files_only=True))
    except OSError:  # not in the cache
        pass
    try:
        return Path(hf_hub_download(_HUB_REPOSITORY, _HUB_FILE))
    except Exception as error:  # the hub's client lets through errors of the network, the disk and its own
        raise InputError(
            f"OpenAI's CLIP weights are not in the hub's cache and the hub does not answer: {_REMEDY}"
        ) from error


def read(file: Path, remedy: str) -> dict[str, Tensor]:
    """Read safetensors, a pickled state dict, or OpenAI's TorchScript archive: whichever it is, however it is called.

    None may run code: a pickle goes through torch's weights-only reader, and since an archive is a program, only those
    are opened whose file has a hash that open_clip publishes.

    Raises:
        InputError: It is none of them; the sentence ends in the remedy.
    """
    if not file.is_file():
        raise InputError(f"the text tower's weights {file} are not a file: {remedy}")
    try:
        with file.open("rb") as content:
            head = content.read(9)
    except OSError as error:
        raise InputError(f"the text tower's weights {file} cannot be read ({error.strerror}): see to it") from error
    try:
        if head[8:] == b"{":  # safetensors: eight bytes of length, then JSON
            from safetensors.torch import load_file

            return load_file(file)
        if not _is_torchscript(file):
            with file.open("rb") as content:  # given the name, torch would go by its ending
                loaded = torch.load(content, map_location="cpu", weights_only=True)
            weights: dict[str, Tensor] = dict(loaded.get("state_dict", loaded))
            return {name.removeprefix("module."): weight for name, weight in weights.items()}
        if sha256_of(file) not in published_archives():
            raise InputError(
                f"{file} is a TorchScript archive, which is a program, and none that OpenAI published, so it is not "
                f"opened: {remedy}"
            )
        with warnings.catch_warnings():  # torch.load refuses such a file unless it may run any code
            warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated; the archive is what it is
            archive: torch.jit.ScriptModule = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]
        return {name: weight for name, weight in archive.state_dict().items() if name not in _ARCHIVE_EXTRAS}
    except InputError:
        raise
    except Exception as error:  # a damaged or foreign file can raise anything in any of the three readers
        raise InputError(f"cannot read CLIP weights from {file}: {remedy}") from error


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any("/code/" in name for name in archive.namelist())


def _check(file: Path, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not OpenAI's ViT-B/16."""
    for name in sorted(expected.keys() | weights.keys()):
        found, needed = (tuple(d[name].shape) if name in d else "absent" for d in (weights, expected))
        if found != needed:
            raise InputError(f"{file} does not hold CLIP ViT-B/16: {name} is {found}, not {needed}; {_REMEDY}")
    projection = weights["text_projection"].float()
    if not torch.equal(projection, projection.half().float()):
        # OpenAI released half-precision weights. Others of the same shape were trained with plain GELU.
        raise InputError(f"{file} fits CLIP ViT-B/16 but is not OpenAI's (its weights are no half floats): {_REMEDY}")
    scale = float(weights["logit_scale"].float().exp())
    if abs(scale - 100) > 1:
        raise InputError(f"{file} holds untrained weights (exp(logit_scale) is {scale:.2f}, not 100): {_REMEDY}")
