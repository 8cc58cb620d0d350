"""Scanner: how a scan shows a scene. Its kernel, and the noise of filtered back-projection.

The numbers are ours, drawn from ranges that chest CT has; each scan has its own.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy.fft import fftfreq, irfft2, rfft2, rfftfreq

from datasets.crops import Grid
from datasets.lidc.phantom.anatomy import Volume, correlated
from datasets.lidc.readings import Scan

LIMITS_HU = (-1024, 3071)  # what twelve bits hold
LIFT_PER_MM = 0.3  # cycles a millimetre above which a sharp kernel lifts


@dataclass(frozen=True)
class Scanner:
    """How a scan shows a scene.

    Attributes:
        blur_mm: Standard deviation of the in-plane point spread, which also shapes the noise.
        lift: How much a sharp kernel raises fine detail, as a share of it; 0 for a smooth kernel.
        noise_hu: Standard deviation of the noise.
        streaks: Power of the noise across the rays that pass the body from side to side, in terms of that across
            the rays from front to back, which pass less of it.
        thickness_mm: Of a slice; overlapping slices share noise.
    """

    blur_mm: float
    lift: float
    noise_hu: float
    streaks: float
    thickness_mm: float

    def image(self, random: np.random.Generator, scene: Volume, grid: Grid) -> Volume:
        """Blur a scene and add noise of the scan's own grain.

        The noise's power in each direction is that of the rays across it, and grows with frequency as far as the
        kernel lets it.
        """
        _, rows, columns = scene.shape
        v, u = fftfreq(rows, grid.spacing_mm[1])[:, None], rfftfreq(columns, grid.spacing_mm[2])[None, :]
        square = u**2 + v**2
        transfer = np.exp(-2 * (np.pi * self.blur_mm) ** 2 * square)
        transfer *= 1 + self.lift * (1 - np.exp(-square / LIFT_PER_MM**2))
        across = v**2 / np.maximum(square, 1e-9)  # of the rays from side to side: 1 where rows follow each other
        grain = transfer * np.sqrt(np.sqrt(square) * (1 + (self.streaks - 1) * across**2))
        weight = np.where((u == 0) | (2 * u * grid.spacing_mm[2] >= 1), 1, 2)  # rfft keeps half of the plane
        grain *= self.noise_hu * np.sqrt(rows * columns / (weight * grain**2).sum())
        white = correlated(random, scene.shape, (0.45 * self.thickness_mm / grid.spacing_mm[0], 0.0, 0.0))
        shown = irfft2(rfft2(scene) * transfer + rfft2(white) * grain, s=(rows, columns))
        return np.asarray(np.clip(shown, *LIMITS_HU))


def scanner_of(scan: Scan) -> Scanner:
    """Return the scan's scanner: a smooth or sharp kernel, and more noise for sharp kernels and thin slices."""
    random = np.random.Generator(np.random.PCG64(list(hashlib.sha256(scan.series_uid.encode()).digest())))
    thickness = scan.slice_thickness_mm
    sharp = random.random() < (0.6 if 1.1 < thickness < 2.7 else 0.15)
    blur = random.uniform(0.34, 0.5) if sharp else random.uniform(0.5, 0.75)
    lift = random.uniform(0.2, 1.0) if sharp else 0.0
    streaks = 1 + 1.3 * np.exp(0.9 * random.standard_normal())
    dose = np.exp(0.6 * random.standard_normal()) * np.sqrt((1 + streaks) / 3.3)
    noise = 26 * dose * (0.55 / blur) ** 1.2 * (1.6 / max(thickness, 1.1))
    return Scanner(blur, lift, float(noise), float(streaks), thickness)
