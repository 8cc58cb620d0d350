"""Statistics of slices: quantiles, power spectra, and intervals that know that nodules share patients."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int, Shaped

from benchmark.intervals import Interval

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
RESAMPLES = 1000

Slices = Shaped[np.ndarray, "nodules rows columns"]


def regions(hu: Slices) -> dict[str, Shaped[np.ndarray, " pixels"]]:
    """Return the pixels of all slices within a quarter of the side from the middle (where the nodule is), and others.

    A crop's side is twice its nodule's diameter, so the circle is the nodule's own.
    """
    size = hu.shape[1]
    away = np.hypot(*(np.indices((size, size)) - (size - 1) / 2))
    return {"nodule": hu[:, away <= size / 4].ravel(), "surroundings": hu[:, away > size / 4].ravel()}


def spectrum(hu: Slices) -> Float[np.ndarray, " frequencies"]:
    """Return the power at 1, 2, ... half of the side cycles a side: mean over slices and directions, in HU^2.

    Each slice is freed of its mean and tapered by a Hann window, so that its borders make no power.
    """
    size = hu.shape[1]
    taper = np.hanning(size + 2)[1:-1]
    window = np.outer(taper, taper)
    flat = hu - hu.mean(axis=(1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(flat * window)) ** 2 / (window**2).sum()
    cycles = np.fft.fftfreq(size, 1 / size)
    ring = np.rint(np.hypot(cycles[:, None], cycles[None, :])).astype(np.int64)
    mean = power.mean(axis=0)
    return np.array([mean[ring == number].mean() for number in range(1, size // 2 + 1)])


def figure(
    patient_ids: Sequence[str],
    value: Callable[[Int[np.ndarray, " nodules"]], float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return a figure with its 95 % percentile interval.

    Args:
        patient_ids: Of each nodule.
        value: The figure, from the rows of the nodules that were drawn; a row may come several times.
        resamples: How often to draw as many patients as there are.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    _, number = np.unique(np.asarray(patient_ids), return_inverse=True)
    rows = [np.flatnonzero(number == patient) for patient in range(number.max() + 1)]
    drawn = (np.concatenate([rows[i] for i in random.integers(len(rows), size=len(rows))]) for _ in range(resamples))
    low, high = np.nanquantile([value(sample) for sample in drawn], [0.025, 0.975])
    return Interval(float(value(np.arange(len(number)))), float(low), float(high))
