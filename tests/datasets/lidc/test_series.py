"""Series whose answer is known: what comes back, and what is refused by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEGLosslessSV1

import shared
from ct import AIR_HU, SOLID_HU, dataset, sphere, write
from datasets import crops
from datasets.dicom import headers, images
from datasets.lidc import matching, readings, series, survey
from datasets.lidc.geometry import crop_of as crop_in_database
from datasets.lidc.geometry import grid_of
from datasets.lidc.matching import levels
from datasets.lidc.nodules import cluster
from datasets.lidc.phantom import masks
from datasets.lidc.series import Job


def job_of(made, root: Path, work: Path) -> Job:
    found = survey.find(root, work)
    (job,) = found.jobs([made.nodules], "code")
    return job


def crop_of(made, tmp_path: Path):
    volumes, outcome = series.make(job_of(made, tmp_path / "ct", tmp_path / "work"))
    assert outcome.left_out == {} and len(volumes) == 1
    return volumes[0], outcome


@pytest.fixture
def made():
    return sphere()


@pytest.fixture
def plain(made, tmp_path):
    write(made, tmp_path / "plain")
    return series.make(job_of(made, tmp_path / "plain", tmp_path / "plain-work"))[0][0]


@pytest.mark.parametrize(
    ("spacing", "radius"),
    [
        ((0.45, 0.45, 0.45), 5.0),
        ((5.0, 0.45, 0.45), 14.0),
        ((0.6, 0.98, 0.98), 6.0),
        ((2.5, 0.7, 0.7), 4.0),
        ((5.0, 5.0, 5.0), 30.0),
        ((1.25, 0.5, 0.9), 6.0),  # pixels that are not square
        ((2.0, 5.0, 0.45), 16.0),
    ],
)
def test_a_spheres_volume_and_centre_come_back(spacing, radius, tmp_path):
    made = sphere(spacing, radius)
    write(made, tmp_path / "ct")
    volume, _ = crop_of(made, tmp_path)
    found = job_of(made, tmp_path / "ct", tmp_path / "work")
    (nodule,) = made.nodules
    crop = series._crop(nodule, matching.grid(found.slices, made.scan))
    share = (volume - AIR_HU) / (SOLID_HU - AIR_HU)
    half_voxel = np.maximum(crop.voxel_mm, spacing) / 2
    centre = [share.sum(axis=tuple({0, 1, 2} - {n})) @ axis / share.sum() for n, axis in enumerate(crop.axes)]
    assert (np.abs(centre - made.centre_mm) < half_voxel).all()
    equivalent = (share.sum() * crop.voxel_mm**3 * 3 / (4 * np.pi)) ** (1 / 3)
    assert abs(equivalent - radius) < min(half_voxel)
    assert crop.side_mm == pytest.approx(4 * radius, rel=0.15)


@pytest.mark.parametrize(
    "options",
    [
        {"signed": False},
        {"slope": 0.5, "intercept": -2000.0},
        {"compress": True},
        {"name": "IM-{level:x}-0001"},
        {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]},  # a patient lying face down
    ],
    ids=str,
)
def test_the_way_of_writing_changes_nothing(made, plain, options, tmp_path):
    write(made, tmp_path / "ct", **options)
    np.testing.assert_allclose(crop_of(made, tmp_path)[0], plain, atol=1)


def test_names_and_instance_numbers_tell_nothing(made, plain, tmp_path):
    folder = tmp_path / "ct"
    folder.mkdir()
    count = len(made.scan.slice_z_mm)
    for level, name in enumerate(np.random.default_rng(0).permutation(count)):
        one = dataset(made.scan, made.scan.slice_z_mm[level], made.hu(level), made.spacing_mm, number=count - level)
        one.save_as(folder / f"1-{name:03}.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(crop_of(made, tmp_path)[0], plain)


def test_each_slice_has_its_own_slope(made, plain, tmp_path):
    for level in range(len(made.scan.slice_z_mm)):
        write(
            made,
            tmp_path / "ct",
            skip=set(range(len(made.scan.slice_z_mm))) - {level},
            slope=[1.0, 0.25, 2.0][level % 3],
            intercept=[-1024.0, 0.0, -1000.0][level % 3],
        )
    np.testing.assert_allclose(crop_of(made, tmp_path)[0], plain, atol=2)


def test_a_localizer_and_copies_do_no_harm(made, plain, tmp_path):
    write(made, tmp_path / "ct")
    write(made, tmp_path / "ct" / "again", skip={0, 1, 2})
    middle = made.scan.slice_z_mm[5]
    scout = dataset(made.scan, middle, made.hu(0) + 500, made.spacing_mm, number=99)
    scout.ImageType, scout.ImageOrientationPatient = ["ORIGINAL", "PRIMARY", "LOCALIZER"], [1, 0, 0, 0, 0, -1]
    scout.save_as(tmp_path / "ct" / "000", enforce_file_format=True)
    volume, _ = crop_of(made, tmp_path)
    np.testing.assert_array_equal(volume, plain)


def test_two_images_at_one_height_are_no_guess(made, tmp_path):
    write(made, tmp_path / "ct")
    middle = len(made.scan.slice_z_mm) // 2
    other = dataset(made.scan, made.scan.slice_z_mm[middle], made.hu(middle) + 9, made.spacing_mm, number=77)
    other.save_as(tmp_path / "ct" / "zz.dcm", enforce_file_format=True)
    volumes, outcome = series.make(job_of(made, tmp_path / "ct", tmp_path / "work"))
    assert len(volumes) == 0 and "two different images stand there" in outcome.left_out["LIDC-IDRI-9001-r1"]
    assert [fault.name for fault in outcome.faults] == ["zz.dcm"]


def test_padding_is_clipped_and_unused_bits_are_ignored(made, tmp_path):
    folder = tmp_path / "ct"
    folder.mkdir()
    for level, z in enumerate(made.scan.slice_z_mm):
        hu = made.hu(level)
        hu[hu < -700] = -3000
        one = dataset(made.scan, z, hu, made.spacing_mm, intercept=-4000.0, number=level, signed=False)
        one.PixelData = (np.frombuffer(one.PixelData, "<u2") | 0x8000).tobytes()  # as overlays once did
        one.BitsStored, one.HighBit = 15, 14
        one.save_as(folder / f"{level}", enforce_file_format=True)
    volume, _ = crop_of(made, tmp_path)
    assert volume.min() == -1000 and volume.max() == pytest.approx(SOLID_HU, abs=1)


def refusal(made, tmp_path):
    volumes, outcome = series.make(job_of(made, tmp_path / "ct", tmp_path / "work"))
    assert len(volumes) == 0 and len(outcome.left_out) == 1
    return next(iter(outcome.left_out.values())), outcome.faults


def test_a_missing_slice_leaves_the_nodule_out(made, tmp_path):
    write(made, tmp_path / "ct", skip={7})
    reason, faults = refusal(made, tmp_path)
    assert reason.startswith("the slice at z -86 mm: missing") and faults == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0.97, 0.24]}, "oblique: its rows and columns"),
        ({"PixelSpacing": [0.8, 0.8]}, "its rows are 0.8 mm apart, the database says 0.7"),
        ({"RescaleSlope": 0}, "a rescale slope of 0"),
        pytest.param({"PixelData": b"\0" * 99}, "bytes of pixels", id="too few pixels"),
        ({"NumberOfFrames": 40_000}, "no single grey image"),
        ({"Rows": 60_000}, "60000 rows"),
        ({"RescaleIntercept": 33_000}, "HU is no density of anything"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named(made, changes, sentence, tmp_path):
    write(made, tmp_path / "ct", **changes)
    reason, faults = refusal(made, tmp_path)
    assert sentence in reason and len(faults) >= 18  # every slice that the crop needs
    assert all(sentence in fault.reason for fault in faults)


def test_a_syntax_without_a_decoder_is_named_with_what_it_wants(made, monkeypatch, tmp_path):
    write(made, tmp_path / "ct", compress=True)
    syntax = JPEGLosslessSV1.encode()
    for path in (tmp_path / "ct").iterdir():
        content = path.read_bytes()
        at = content.index(b"1.2.840.10008.1.2.5\0")
        changed = content[: at - 2] + (len(syntax)).to_bytes(2, "little") + syntax + content[at + 20 :]
        path.write_bytes(changed)
    monkeypatch.setattr(headers, "missing_decoder", lambda syntax: "pylibjpeg")
    reason, _ = refusal(made, tmp_path)
    assert "compressed as JPEG Lossless" in reason and "which wants another package: pylibjpeg" in reason


def test_slices_of_another_frame_are_named(made, tmp_path):
    write(made, tmp_path / "ct", skip={5})
    moved = dataset(made.scan, made.scan.slice_z_mm[5], made.hu(5), made.spacing_mm, number=5)
    moved.ImagePositionPatient[0] = -140.0
    moved.save_as(tmp_path / "ct" / "moved.dcm", enforce_file_format=True)
    reason, faults = refusal(made, tmp_path)
    assert "not that of the series' other slices" in reason and [fault.name for fault in faults] == ["moved.dcm"]


def test_only_the_slices_that_a_nodule_needs_are_read(tmp_path, monkeypatch):
    made = sphere(margin=12)
    write(made, tmp_path / "ct")
    job = job_of(made, tmp_path / "ct", tmp_path / "work")
    read = []
    whole = images.read_image
    monkeypatch.setattr(images, "read_image", lambda file, one: read.append(one) or whole(file, one))
    series.make(job)
    (nodule,) = made.nodules
    box = crops.box_of(crop_in_database(nodule), grid_of(made.scan))
    assert len(read) == box[0].stop - box[0].start < len(made.scan.slice_z_mm) / 2
    needed, suspects = series.choose(made.nodules, job.slices)
    assert sorted(needed, key=str) == sorted(read, key=str) and suspects == []


def test_where_a_needed_slice_is_missing_the_odd_ones_are_suspects(tmp_path):
    made = sphere(margin=12)
    write(made, tmp_path / "ct")
    job = job_of(made, tmp_path / "ct", tmp_path / "work")
    needed, _ = series.choose(made.nodules, job.slices)
    moved = replace(needed[3], position_mm=(*needed[3].position_mm[:2], 5000.0))
    twin = replace(job.slices[0], path="twin")
    slices = [*(moved if one == needed[3] else one for one in job.slices), twin]
    found, suspects = series.choose(made.nodules, slices)
    assert {one.path for one in found} == {one.path for one in needed} - {moved.path}
    assert {one.path for one in suspects} == {moved.path, twin.path, job.slices[0].path}


def test_what_may_be_there_another_time_is_tried_again(made, tmp_path):
    write(made, tmp_path / "ct")
    job = job_of(made, tmp_path / "ct", tmp_path / "work")
    doubt = series.Doubt("the store failed: 503", passing=True)
    lost = replace(job, slices=(), doubt=doubt, part=tmp_path / "part.npz")
    volumes, outcome = series.crop(lost)
    assert len(volumes) == 0 and outcome.doubt == doubt and list(outcome.left_out) == [made.nodules[0].id]
    volumes, outcome = series.crop(replace(lost, slices=job.slices))
    assert len(volumes) == 1 and outcome.doubt is None and outcome.left_out == {}
    assert len(series.crop(replace(lost, slices=()))[0]) == 1  # and what is made is made


def test_a_slice_that_did_not_come_is_named_with_its_reason(made, tmp_path):
    write(made, tmp_path / "ct")
    job = job_of(made, tmp_path / "ct", tmp_path / "work")
    needed, _ = series.choose(made.nodules, job.slices)
    (tmp_path / "ct" / needed[0].path).unlink()
    _, outcome = series.make(replace(job, lost={needed[0].label: "another MD5"}))
    (reason,) = outcome.left_out.values()
    assert ": another MD5 (1 of its" in reason


@pytest.fixture(scope="module")
def patient_one(tmp_path_factory):
    """The real scan of LIDC-IDRI-0001: densities around its nodule, and how many readers enclose them."""
    root = shared.require(shared.SCAN)
    scan = next(scan for scan in readings.load() if scan.patient_id == "LIDC-IDRI-0001")
    (nodule,) = cluster(scan)
    (job,) = survey.find(root, tmp_path_factory.mktemp("work")).jobs([[nodule]], "code")
    points = [np.insert(o.points, 0, o.slice_index, axis=1) for r in nodule.readings for o in r.outlines]
    low, high = np.concatenate(points).min(axis=0) - 2, np.concatenate(points).max(axis=0) + 3
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part = series._Part(box)
    assert series._fill(job, levels(job.slices, scan)[0], [part], []) == {}
    return part.hu, masks.votes(nodule, box), job


def agrees(hu, votes) -> bool:
    inside, outside = hu[2 * votes >= 4].mean(), hu[votes == 0].mean()
    return abs(inside + 77) <= 5 and abs(outside + 673) <= 15


def test_a_real_nodule_is_dense_where_its_readers_say(patient_one):
    hu, votes, _ = patient_one
    assert agrees(hu, votes)


def test_a_flipped_or_transposed_reading_would_be_seen(patient_one):
    hu, votes, _ = patient_one
    assert not agrees(hu[::-1], votes) and not agrees(hu[:, ::-1], votes) and not agrees(hu[:, :, ::-1], votes)
    side = min(hu.shape[1:])
    assert not agrees(hu[:, :side, :side].transpose(0, 2, 1), votes[:, :side, :side])


def test_a_real_crop_is_made_from_what_its_nodule_needs(patient_one):
    volumes, outcome = series.make(patient_one[2])
    assert volumes.shape == (1, 32, 32, 32) and outcome.faults == []
    assert volumes[0, 14:18, 14:18, 14:18].mean() > -100 and volumes.min() >= -1000
    assert replace(patient_one[2], slices=()).nodules  # the job is plain data
