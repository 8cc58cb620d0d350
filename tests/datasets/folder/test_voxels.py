"""Files whose crop is known: what comes back, and what is refused with its line."""

import gzip
import pickle
import tracemalloc
from itertools import permutations, product

import nibabel
import numpy as np
import pytest

from benchmark.contracts import InputError
from ct import sphere, write
from datasets import crops
from datasets.crops import Crop, Grid
from datasets.folder import Folder, voxels


@pytest.fixture
def scan():
    """A volume of 40 x 60 x 50 voxels of air with a bright box, which tells every axis and sense."""
    volume = np.full((40, 60, 50), -800, dtype=np.int16)
    volume[10:14, 20:28, 30:36] = 40
    volume[10, 20, 30] = 900
    return volume


def made(root):
    collection = Folder(root)
    return np.stack([collection.volume(nodule) for nodule in collection.nodules()])


def refused(root):
    with pytest.raises(InputError) as told:
        made(root)
    assert f"{root / 'nodules.csv'}, line 2: " in str(told.value) and "\n" not in str(told.value)
    return str(told.value)


def expected(volume, spacing, centre, diameter):
    grid = Grid(*(step * np.arange(count) for step, count in zip(spacing, volume.shape, strict=True)))
    return np.rint(crops.resample(volume, grid, Crop(np.array(centre) * spacing, 2.0 * diameter))).astype(np.int16)


def save_nifti(path, volume, spacing, order=(0, 1, 2), senses=(1, 1, 1), affine=None):
    """Write a volume of DICOM's axes with the file's axes in any order and sense; axis n of the file is one of RAS."""
    stored = volume.transpose(2, 1, 0)[::-1, ::-1]  # columns run to the left, rows to the back: turn them
    world = np.zeros((4, 4))
    world[3, 3] = 1
    stored = stored.transpose(order)
    for axis, (of, sense) in enumerate(zip(order, senses, strict=True)):
        world[of, axis] = sense * spacing[::-1][of]
        if sense < 0:
            stored = np.flip(stored, axis)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(stored), world if affine is None else affine), path)


def test_a_finished_crop_is_taken_as_it_is(folder, crop):
    np.testing.assert_array_equal(made(folder({})), [crop])


@pytest.mark.parametrize("kind", [np.int32, np.float32, np.float64])
def test_kinds_of_numbers_are_rounded_to_whole_units(folder, crop, kind):
    root = folder({"file": "b.npy"})
    np.save(root / "b.npy", crop.astype(kind) + (0.4 if kind != np.int32 else 0))
    np.testing.assert_array_equal(made(root), [crop])


def test_the_axes_of_a_finished_crop_stay_in_any_order_of_memory(folder, crop):
    root = folder({"file": "b.npy"})
    np.save(root / "b.npy", np.asfortranarray(crop))
    np.testing.assert_array_equal(made(root), [crop])


def test_a_scan_is_resampled_around_its_centre(folder, scan):
    row = {"patient_id": "p", "file": "b.npy", "diameter_mm": 8, "spacing_mm": "2.5|0.7|0.6"}
    root = folder({**row, "centre": "11.5|24|33"}, row)
    np.save(root / "b.npy", scan)
    first, second = made(root)
    spacing = np.array([2.5, 0.7, 0.6])
    np.testing.assert_array_equal(first, expected(scan, spacing, (11.5, 24, 33), 8))
    np.testing.assert_array_equal(second, expected(scan, spacing, (19.5, 29.5, 24.5), 8))  # the middle
    assert first[16, 16, 16] > 0 > second[16, 16, 16]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_nifti_of_any_axes_gives_one_crop(folder, scan, order):
    spacing = np.array([2.5, 0.7, 0.6])
    whole = expected(scan, spacing, (11.5, 24, 33), 8)
    for senses in product((1, -1), repeat=3):
        # The index of the centre is the file's own, last axis first: what SimpleITK's arrays count.
        own = {0: 49 - 33, 1: 59 - 24, 2: 11.5}  # along right, front, head
        counts = {0: 50, 1: 60, 2: 40}
        index = [own[of] if sense > 0 else counts[of] - 1 - own[of] for of, sense in zip(order, senses, strict=True)]
        centre = "|".join(map(str, index[::-1]))
        root = folder({"file": "b.nii", "diameter_mm": 8, "centre": centre})
        save_nifti(root / "b.nii", scan, spacing, order, senses)
        np.testing.assert_allclose(made(root), [whole], atol=1, err_msg=str(senses))


def test_a_compressed_nifti_and_its_scale_are_read(folder, scan):
    root = folder({"file": "b.nii.gz", "diameter_mm": 8})
    save_nifti(root / "b.nii.gz", scan, np.array([2.5, 0.7, 0.6]))
    plain = made(root)
    image = nibabel.load(root / "b.nii.gz")
    scaled = nibabel.Nifti1Image((image.get_fdata() - 10) / 0.5, image.affine)
    scaled.header.set_data_dtype(np.int16)
    scaled.header.set_slope_inter(0.5, 10)
    nibabel.save(scaled, root / "b.nii.gz")
    np.testing.assert_allclose(made(root), plain, atol=1)


def test_a_nifti_of_32_voxels_is_turned_and_else_taken_as_it_is(folder, crop):
    root = folder({"file": "b.nii"})
    save_nifti(root / "b.nii", crop, np.array([1.0, 1.0, 1.0]), (2, 0, 1), (1, -1, 1))
    np.testing.assert_array_equal(made(root), [crop])


def test_a_folder_of_slices_is_resampled(folder):
    ball = sphere((2.0, 0.7, 0.7), 6.0)
    root = folder({"file": "ct", "diameter_mm": 12})
    write(ball, root / "ct")
    (volume,) = made(root)
    hu = np.stack([ball.hu(level) for level in range(len(ball.scan.slice_z_mm))])
    middle = [(count - 1) / 2 for count in hu.shape]
    np.testing.assert_allclose(volume, expected(hu, np.array([2.0, 0.7, 0.7]), middle, 12), atol=1)


def test_padding_does_not_reach_into_the_crop(folder, scan):
    root = folder({"file": "b.npy", "diameter_mm": 8, "spacing_mm": "2.5|0.7|0.6"})
    padded = scan.copy()
    padded[:, :, 25:] = -3024
    np.save(root / "b.npy", padded)
    assert made(root).min() == -1000


def test_the_edge_of_the_scan_repeats(folder, scan):
    root = folder({"file": "b.npy", "diameter_mm": 8, "spacing_mm": "1|1|1", "centre": "0|0|0"})
    np.save(root / "b.npy", np.broadcast_to(np.arange(40)[:, None, None] - 500, (40, 40, 40)))
    (volume,) = made(root)
    assert (volume[:16] == -500).all() and volume[-1, 0, 0] > -495


def test_a_huge_scan_is_read_in_part(folder):
    root = folder({"file": "b.npy", "diameter_mm": 8, "spacing_mm": "1|1|1"})
    huge = np.lib.format.open_memmap(root / "b.npy", "w+", np.int16, (2000, 1000, 1000))  # 4 GB, on disk a hole
    huge[985:1015, 485:515, 485:515] = -700
    huge.flush()
    tracemalloc.start()
    (volume,) = made(root)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (volume == -700).all() and peak < 20e6


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none(folder, crop, value):
    root = folder({"file": "b.npy"})
    holed = crop.astype(float)
    holed[3, 4, 5] = value
    np.save(root / "b.npy", holed)
    assert "b.npy holds NaN or infinity: give every voxel a number" in refused(root)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0), (0.2, 0.3), (-5001, 40), (-1000, 32768)], ids=str)
def test_what_cannot_be_hounsfield_units(folder, low, high):
    root = folder({"file": "b.npy"})
    np.save(root / "b.npy", np.linspace(low, high, 32**3).reshape(32, 32, 32))
    assert f"b.npy holds values from {low:g} to {high:g}, which cannot be Hounsfield units: convert them" in refused(
        root
    )


@pytest.mark.parametrize(("low", "high"), [(-5000, 32767), (-1, 1), (0, 2)], ids=str)
def test_what_can_be_hounsfield_units(folder, low, high):
    root = folder({"file": "b.npy"})
    np.save(root / "b.npy", np.linspace(low, high, 32**3).reshape(32, 32, 32))
    assert made(root).max() == high


@pytest.mark.parametrize(
    ("row", "shape", "sentence"),
    [
        (
            {},
            (40, 60, 50),
            "is 40 x 60 x 50 voxels of unknown spacing: give spacing_mm and diameter_mm, or a crop",
        ),
        ({"diameter_mm": 8}, (40, 60, 50), "voxels of unknown spacing: give spacing_mm"),
        ({"spacing_mm": "1|1|1"}, (40, 60, 50), "how much of it to take is unknown: give diameter_mm"),
        ({"spacing_mm": "1|1|1", "diameter_mm": 8}, (1, 60, 50), "a volume needs at least two along each axis"),
        (
            {"spacing_mm": "1|1|1", "diameter_mm": 8, "centre": "40|2|3"},
            (40, 60, 50),
            "no voxel at the centre 40|2|3",
        ),
        (
            {"spacing_mm": "1|1|1", "diameter_mm": 8, "centre": "4|-1|3"},
            (40, 60, 50),
            "no voxel at the centre 4|-1|3",
        ),
        ({}, (32, 32), "b.npy is an array of shape (32, 32): save one with three axes (slice, row, column)"),
        ({}, (1, 32, 32, 32), "b.npy is an array of shape (1, 32, 32, 32): save one with three axes"),
        ({}, (), "b.npy is an array of shape (): save one with three axes"),
    ],
    ids=str,
)
def test_a_volume_that_does_not_fit(folder, row, shape, sentence):
    root = folder({"file": "b.npy", **row})
    np.save(root / "b.npy", np.full(shape, -500, dtype=np.int16))
    assert sentence in refused(root)


@pytest.mark.parametrize(
    "array", [np.array([[["x"]]]), np.zeros((32, 32, 32), dtype=complex), np.zeros((32, 32, 32), dtype=bool)]
)
def test_an_array_of_no_numbers(folder, array):
    root = folder({"file": "b.npy"})
    np.save(root / "b.npy", array)
    told = f"b.npy is no array of numbers but of {array.dtype}: save Hounsfield units, as int16 or float32"
    assert told in refused(root)


def test_an_array_of_objects_is_never_unpickled(folder):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("it was unpickled",)

    root = folder({"file": "b.npy"})
    with (root / "b.npy").open("wb") as file:
        np.save(file, np.array([Trap()], dtype=object), allow_pickle=True)
    told = "b.npy holds pickled Python objects, which are not opened: save an array of numbers alone"
    assert refused(root).endswith(told)
    (root / "b.npy").write_bytes(pickle.dumps(Trap()))
    told = "b.npy cannot be read, as it is no .npy, or a pickled one: save an array of numbers with numpy.save"
    assert refused(root).endswith(told)


@pytest.mark.parametrize("name", ["b.npy", "b.nii", "b.nii.gz"])
@pytest.mark.parametrize(
    "content",
    [b"", b"noise" * 99, b"\x93NUMPY\x01\x00\xff\xff{", gzip.compress(b"\0" * 400)],
    ids=["empty", "noise", "a cut header", "gzipped zeros"],
)
def test_a_damaged_file(folder, name, content):
    root = folder({"file": name, "diameter_mm": 5})
    (root / name).write_bytes(content)
    assert f"{name} cannot be read" in refused(root)


@pytest.mark.parametrize("name", ["b.npy", "b.nii", "b.nii.gz"])
def test_a_file_that_ends_early(folder, crop, name):
    root = folder({"file": name})
    np.save(root / name, crop) if name == "b.npy" else save_nifti(root / name, crop, np.ones(3))
    content = (root / name).read_bytes()
    (root / name).write_bytes(content[: len(content) // 2])
    assert f"{name} cannot be read" in refused(root)


def test_an_array_that_claims_more_than_it_holds(folder):
    root = folder({"file": "b.npy", "diameter_mm": 5, "spacing_mm": "1|1|1"})
    header = "{'descr': '<i2', 'fortran_order': False, 'shape': (60000, 60000, 60000)}".ljust(117) + "\n"
    (root / "b.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header.encode() + b"\0" * 1000)
    assert "b.npy cannot be read" in refused(root)


def test_an_oblique_nifti(folder, scan):
    root = folder({"file": "b.nii", "diameter_mm": 8})
    affine = np.diag([-0.6, -0.7, 2.5, 1])
    affine[0, 1] = 0.01
    save_nifti(root / "b.nii", scan, np.ones(3), affine=affine)
    assert "b.nii is oblique: its axes are not those of the body; resample it" in refused(root)


def test_a_nifti_that_does_not_say_how_it_lies(folder, crop):
    root = folder({"file": "b.nii"})
    nibabel.save(nibabel.Nifti1Image(crop, None), root / "b.nii")
    assert "does not say how it lies in space (neither sform nor qform)" in refused(root)


def test_a_nifti_of_several_volumes(folder, crop):
    root = folder({"file": "b.nii"})
    nibabel.save(nibabel.Nifti1Image(np.stack([crop, crop], 3), np.eye(4)), root / "b.nii")
    assert "holds int16 in shape (32, 32, 32, 2), which is no volume of numbers: give three axes" in refused(root)


def test_a_nifti_of_one_volume_in_four_axes(folder, crop):
    root = folder({"file": "b.nii"})
    nibabel.save(nibabel.Nifti1Image(crop.transpose(2, 1, 0)[..., None], np.diag([-1, -1, 1, 1])), root / "b.nii")
    np.testing.assert_array_equal(made(root), [crop])


def test_a_nifti_in_other_units_than_millimetres(folder, scan):
    root = folder({"file": "b.nii", "diameter_mm": 8})
    save_nifti(root / "b.nii", scan, np.array([2500.0, 700, 600]))
    assert "b.nii has voxels of [2500.0, 700.0, 600.0] mm: correct its spacing" in refused(root)


@pytest.mark.parametrize("given", ["2.52|0.7|0.6", "2.48|0.7|0.6", "2.5|0.705|0.605"])
def test_a_spacing_that_is_the_niftis_own_to_a_hundredth_changes_nothing(folder, scan, given):
    for file in ("b.nii", "ct"):
        row = {"patient_id": "p", "file": file, "diameter_mm": 8}
        root = folder({**row, "spacing_mm": given}, row)
        if file == "ct":
            write(sphere((2.5, 0.7, 0.6), 6.0), root / "ct")
        else:
            save_nifti(root / "b.nii", scan, np.array([2.5, 0.7, 0.6]), (2, 0, 1))
        first, second = made(root)
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("given", ["2.53|0.7|0.6", "2.47|0.7|0.6", "2.5|0.71|0.6", "2.5|0.7|0.59", "0.6|0.7|2.5"])
@pytest.mark.parametrize("file", ["b.nii", "ct"])
def test_a_spacing_that_is_not_the_files_own(folder, scan, file, given):
    root = folder({"file": file, "diameter_mm": 8, "spacing_mm": given})
    if file == "ct":
        write(sphere((2.5, 0.7, 0.6), 6.0), root / "ct")
    else:
        save_nifti(root / "b.nii", scan, np.array([2.5, 0.7, 0.6]), (2, 0, 1))
    told = f"{file} has voxels of 2.5|0.7|0.6 mm (slice|row|column), and spacing_mm is {given}: correct what is wrong, "
    assert told + "or leave spacing_mm empty" in refused(root)


def test_a_finished_crop_of_another_spacing_than_its_own(folder, crop):
    root = folder({"file": "b.nii", "spacing_mm": "2|1|1"})
    save_nifti(root / "b.nii", crop, np.ones(3))
    assert "b.nii has voxels of 1|1|1 mm (slice|row|column), and spacing_mm is 2|1|1" in refused(root)


def test_a_nifti_of_one_slice_and_a_spacing(folder, scan):
    root = folder({"file": "b.nii", "diameter_mm": 8, "spacing_mm": "1|1|1"})
    save_nifti(root / "b.nii", scan[:1], np.ones(3))
    assert "b.nii is 1 x 60 x 50 voxels: a volume needs at least two along each axis" in refused(root)


def test_a_series_with_a_gap(folder):
    root = folder({"file": "ct", "diameter_mm": 12})
    write(sphere((2.0, 0.7, 0.7), 6.0), root / "ct", skip={5})
    assert "ct lacks slices between z -92 and -88 mm: complete the series" in refused(root)


def test_the_limits_are_those_of_the_readme():
    assert (voxels.LOWEST_HU, voxels.HIGHEST_HU) == (-5000, 32767)
