"""Names checked against what there is: what is wrong, what there is to choose from, what is nearest."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from benchmark import torchbuild
from benchmark.contracts import Collection, InputError, Protocol, Row
from benchmark.recipe import PRESETS

GROUPS = {
    "paper": "the paper's rows, those of its Table 3 too",
    "controls": "rows that ask what a gain of the paper's comes from",
    "all": "every row: the added ones and the variants too",
}

A_CORE = 8  # workers that may be asked for: more are a slip of the hand


def choose(kind: str, name: str, choices: Iterable[str], beside: str = "") -> str:
    """Return the name if it is one of the choices.

    Args:
        kind: What is chosen, in words.
        name: As given.
        choices: What there is.
        beside: What else might have been given, for the sentence.

    Raises:
        InputError: It is not; the sentence names the choices and the nearest one.
    """
    known = list(choices)
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or [k for k in known if k.lower() == name.lower()]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    others = f" {beside}" if beside else ""
    raise InputError(f"there is no {kind} {name!r}: choose from {', '.join(known)}{others}{hint}")


def choose_all(kind: str, names: Sequence[str], choices: Iterable[str]) -> list[str]:
    """Return the chosen names, each once and in the order of the choices."""
    known = list(choices)
    chosen = {choose(kind, name, known) for name in names}
    return [name for name in known if name in chosen]


def join(*parts: Mapping[str, Row]) -> dict[str, Row]:
    """Return all rows in table order.

    Raises:
        InputError: Two have one key.
    """
    joined: dict[str, Row] = {}
    for part in parts:
        if taken := joined.keys() & part.keys():
            key = min(taken)
            kinds = f"a {part[key].kind} row and a {joined[key].kind} row"
            raise InputError(f"the key {key!r} belongs to {kinds}; register the plugin's under another")
        joined |= part
    return joined


def listing(
    rows: Mapping[str, Row],
    protocols: Mapping[str, Protocol],
    sources: Mapping[str, type[Collection]],
    label_rules: Mapping[str, str],
    towers: Mapping[str, str],
) -> list[tuple[str, str, str]]:
    """Return all that can be chosen: option, choice, what it is."""
    found = []
    for key, protocol in protocols.items():
        tested = ", ".join(protocol.class_names[k] for k in protocol.test_classes)
        what = f"{protocol.title}: train on {', '.join(protocol.class_names)}; test on {tested}"
        found.append(("--datasets", key, what))
    for key, row in rows.items():
        if row.kind != "reference":
            beside = [row.kind] * (row.kind != "paper") + ["reads the text tower"] * row.reads_text
            beside += ["reads the diameter"] * row.reads_diameter
            found.append(("--methods", key, ", ".join([row.title, *beside])))
    found += [("--methods", group, what) for group, what in GROUPS.items()]
    found += [("--preset", key, preset.purpose) for key, preset in PRESETS.items()]
    found += [("--source", key, source.note) for key, source in sources.items()]
    found += [("--label-rule", key, what) for key, what in label_rules.items()]
    return found + [("--text-tower", key, what) for key, what in towers.items()]


def choose_rows(names: Sequence[str] | None, rows: Mapping[str, Row]) -> dict[str, Row]:
    """Return the rows to make, references always among them, in table order.

    Args:
        names: Keys and groups; None takes the paper's rows, the controls and those of plugins.
        rows: All there are.
    """
    trained = [key for key, row in rows.items() if row.kind != "reference"]
    groups = {
        "paper": [key for key in trained if rows[key].kind in ("paper", "ablation")],
        "controls": [key for key in trained if rows[key].kind == "control"],
        "all": trained,
    }
    if names is None:
        chosen = {key for key in trained if rows[key].kind not in ("added", "variant")}
    else:
        picked = choose_all("method", names, [*trained, *groups])
        chosen = {key for name in picked for key in groups.get(name, [name])}
    return {key: row for key, row in rows.items() if key in chosen or row.kind == "reference"}


def choose_device(name: str) -> str:
    """Return a device that torch has.

    Raises:
        InputError: The name is unknown or the device is not there.
    """
    there = ["cpu"]
    if name != "cpu" and torchbuild.may_have_cards():
        import torch  # here: it takes seconds that a plan or a finished run need not wait for

        if torch.cuda.is_available():
            there += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        if torch.backends.mps.is_available():
            there.append("mps")
    if name == "auto":
        return "cuda" if "cuda" in there else "cpu"
    if name not in there and name.split(":")[0] in ("cuda", "mps"):
        raise InputError(f"the device {name!r} is not on this machine: choose from {', '.join(there)}")
    return choose("device", name, there)


def choose_workers(number: int | None, device: str) -> int:
    """Return the number of worker processes: as asked for, or one a core, or one a GPU.

    Raises:
        InputError: So many would only keep each other from their work.
    """
    if number is not None:
        if device == "cpu" and number > A_CORE * cores():
            raise InputError(
                f"--workers {number}: this process may use {cores()} cores, and each worker keeps one busy and takes "
                "some 400 MB of memory: give fewer, or leave --workers out"
            )
        return number
    if device == "cuda":
        import torch  # which `choose_device` has imported

        return torch.cuda.device_count()
    return cores() if device == "cpu" else 1


def cores() -> int:
    """Return how many cores this process may use: its affinity and its cgroup's limit count."""
    from joblib import cpu_count  # here: it comes with scikit-learn, which `--list` need not wait for

    count: int = cpu_count()  # what this process may use: its affinity and its cgroup's limit count
    return count
