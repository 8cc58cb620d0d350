"""Made-up CT: a sphere in air as a scan that the database might know, and as the DICOM files a scanner would write."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from datasets.lidc import readings
from datasets.lidc.nodules import Nodule, cluster
from datasets.lidc.readings import Outline, Reading, Scan

AIR_HU, SOLID_HU = -800.0, 50.0


@dataclass(frozen=True)
class Sphere:
    """A scan of one sphere, in world millimetres from the first pixel."""

    scan: Scan
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    centre_mm: np.ndarray
    radius_mm: float

    @property
    def nodules(self) -> list[Nodule]:
        return cluster(self.scan)

    def hu(self, level: int) -> np.ndarray:
        """Return a slice's true density; the sphere's border is as soft as a voxel."""
        z = self.scan.slice_z_mm[level] - self.centre_mm[0]
        if abs(z) > self.radius_mm + max(*self.spacing_mm, 5.0):
            return np.full(self.shape, AIR_HU)
        y, x = (
            step * np.arange(n) - c for step, n, c in zip(self.spacing_mm, self.shape, self.centre_mm[1:], strict=True)
        )
        far = np.sqrt(z**2 + y[:, None] ** 2 + x[None] ** 2)
        soft = max(*self.spacing_mm, np.diff(self.scan.slice_z_mm).min())
        return AIR_HU + (SOLID_HU - AIR_HU) * np.clip((self.radius_mm - far) / soft + 0.5, 0, 1)


def sphere(
    spacing=(2.0, 0.7, 0.7),
    radius=8.0,
    *,
    series="1.2.3",
    patient="LIDC-IDRI-9001",
    first_id=1,
    malignancy=3,
    margin=4.4,
    counts=None,
) -> Sphere:
    """Make a sphere of one reader; spacing between, and counts of, slices, rows and columns."""
    counts = counts or [math.ceil(margin * radius / step) + 3 for step in spacing]
    z = -100.0 + spacing[0] * np.arange(counts[0])
    middle = [step * (n - 1) / 2 + 0.21 * step for step, n in zip(spacing, counts, strict=True)]
    centre = np.array([z[0] + middle[0], *middle[1:]])
    outlines = []
    for level, height in enumerate(z):
        across = radius**2 - (height - centre[0]) ** 2
        if across > 0:
            angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
            points = np.stack(
                [f(angle) * (math.sqrt(across) / s + 0.5) for f, s in zip((np.sin, np.cos), spacing[1:], strict=True)],
                1,
            )
            points = np.rint(points + centre[1:] / spacing[1:]).astype(int)
            kept = np.r_[True, (np.diff(points, axis=0) != 0).any(axis=1)]
            outlines.append(Outline(float(height), level, True, points[kept]))
    reading = Reading(first_id, malignancy, dict.fromkeys(readings.ATTRIBUTES, 3), tuple(outlines))
    scan = Scan(series, patient, spacing[0], spacing[1], z, (reading,))
    return Sphere(scan, (counts[1], counts[2]), (spacing[1], spacing[2]), centre, radius)


def dataset(
    scan: Scan,
    z_mm: float,
    hu: np.ndarray,
    spacing_mm,
    *,
    slope=1.0,
    intercept=-1024.0,
    signed=True,
    number=1,
    **changes,
) -> FileDataset:
    """Return a CT slice; `changes` overwrite its elements at last."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid("1.2.826.0.", [scan.series_uid, f"{z_mm:.4f}", str(number)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.ImageType, ds.Modality = ["ORIGINAL", "PRIMARY", "AXIAL"], "CT"
    ds.PatientID, ds.SeriesInstanceUID, ds.InstanceNumber = scan.patient_id, scan.series_uid, number
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-170.0, -160.0, float(z_mm)], [1, 0, 0, 0, 1, 0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = hu.shape
    ds.PixelSpacing = list(spacing_mm)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, int(signed)
    ds.RescaleIntercept, ds.RescaleSlope = intercept, slope
    stored = np.rint((hu - intercept) / slope)
    ds.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
    for name, value in changes.items():
        setattr(ds, name, value)
    return ds


def write(made: Sphere, folder: Path, *, compress=False, skip=(), name="{level:03}.dcm", **changes) -> None:
    """Write a sphere's slices, a file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for level, z in enumerate(made.scan.slice_z_mm):
        if level not in skip:
            one = dataset(made.scan, z, made.hu(level), made.spacing_mm, number=level + 1, **changes)
            if compress:
                one.compress(RLELossless)
            one.save_as(folder / name.format(level=level), enforce_file_format=True)
