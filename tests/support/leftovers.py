"""What commands that ended, in whatever way, have left lying about."""

from pathlib import Path

from zygote import Zygote

KEPT = ("torchinductor_", "dask-scratch-space/global.lock", "dask-scratch-space/purge.lock")  # torch's, dask's own


def files(folder: Path) -> set[str]:
    """Return all files in a folder, and folders in which there is none."""
    return {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or not any(path.iterdir())
    }


def left_behind(run: Path) -> list[str]:
    """Return claims and half-written files of a run that need not be finished."""
    return sorted(
        name
        for name in files(run)
        if name.startswith("claims") or any(part.startswith(".") for part in Path(name).parts)
    )


def passing(zygote: Zygote) -> list[str]:
    """Return what commands left in the system's folder for passing files."""
    return sorted(name for name in files(zygote.passing) if not name.startswith(KEPT))
