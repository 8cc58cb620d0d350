"""Two cohorts compared by files small enough to mail."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from benchmark.commands import cohort as command
from benchmark.contracts import InputError
from benchmark.files import sha256
from datasets import cohort, digest, store


@pytest.fixture
def made(toy, tmp_path):
    """A prepared cohort of three noisy crops, and its file."""
    noise = np.random.default_rng(0).integers(-900, 100, (3, 32, 32, 32), dtype=np.int16)
    path = cohort.prepare(toy(("a", (1, 2)), ("b", (5,)), ("c", "malignant")), tmp_path / "own")
    changed = replace(store.load(path), volumes=noise)
    return replace(changed, content_hash=store.content_hash(changed))


def variant(made, row=1, change=None, **changes):
    """Return a cohort with another crop in a row, or other columns."""
    volumes = np.array(made.volumes)
    if change is not None:
        volumes[row] = change(volumes[row])
    other = replace(made, volumes=volumes, **changes)
    return replace(other, content_hash=store.content_hash(other))


def found(made, other):
    return digest.compare(digest.of(made), digest.of(other))


def test_a_digest_says_hash_and_means_of_every_crop(made):
    crop = digest.of(made).crops["b-1"]
    hu = made.volumes[1].astype(float)
    assert crop.voxels == sha256(made.volumes[1].tobytes())[:10]
    np.testing.assert_allclose(
        crop.means_hu, [hu.mean(), hu[:16].mean(), hu[:, :16].mean(), hu[..., :16].mean()], atol=0.006
    )


def test_a_digest_that_was_written_is_read_again(made, tmp_path):
    digest.write(digest.of(made), tmp_path / "d.csv")
    assert digest.read(tmp_path / "d.csv") == digest.of(made)


def test_a_prepared_file_has_its_digest_beside_it(toy, tmp_path):
    path = cohort.prepare(toy(("a", (1,)), ("b", (5,))), tmp_path)
    assert digest.read(digest.beside(path)) == digest.of(store.load(path))


def test_the_digest_of_as_many_nodules_as_lidc_has_is_small_enough_to_mail(tmp_path):
    crop = digest.Crop("0" * 10, "0" * 6, (-1000.25,) * 4)
    crops = {f"LIDC-IDRI-{number:04}-r{number:04}": crop for number in range(2651)}
    digest.write(digest.Digest("LIDC", "phantom", "0" * 64, crops), tmp_path / "d.csv")
    assert (tmp_path / "d.csv").stat().st_size < 200_000


def test_equal_cohorts_are_one(made):
    same = found(made, variant(made))
    assert same.is_one and not (same.told or same.rounded or same.another or same.only_first or same.only_second)


def one_voxel(hu):
    hu = hu.copy()
    hu[3, 4, 5] += 1
    return hu


def test_a_voxel_rounded_otherwise_is_told_from_another_image(made):
    rounded = found(made, variant(made, change=one_voxel))
    assert not rounded.is_one and list(rounded.rounded) == ["b-1"] and rounded.another == {} and rounded.told == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda hu: hu + 1,
        lambda hu: hu[::-1],
        lambda hu: hu[:, ::-1],
        lambda hu: hu[:, :, ::-1],
        lambda hu: np.roll(hu, 3, axis=0),
        lambda hu: np.rint(hu * 1.01),
    ],
    ids=["level", "mirrored slices", "mirrored rows", "mirrored columns", "shifted", "slope"],
)
def test_another_image_is_named_with_how_far_it_is(made, change):
    other = found(made, variant(made, change=change))
    assert list(other.another) == ["b-1"] and other.another["b-1"] > digest.ROUNDING_HU and other.rounded == {}


def test_other_scores_of_equal_voxels_are_named(made):
    scores = made.reader_malignancy.copy()
    scores[0, 0] = 3
    other = found(made, variant(made, reader_malignancy=scores))
    assert other.told == ("a-0",) and not other.another and not other.rounded and not other.is_one
    assert found(made, variant(made, strata={"site": ("x", "x", "y")})).told == ("a-0", "b-1", "c-2")


def test_nodules_of_one_side_are_named(made):
    whole, part = digest.of(made), digest.of(made)
    part = replace(
        part, crops={name: crop for name, crop in part.crops.items() if name != "b-1"}, content_hash="0" * 64
    )
    assert digest.compare(whole, part).only_first == ("b-1",) and digest.compare(part, whole).only_second == ("b-1",)


def test_what_is_told_of_a_nodule_does_not_depend_on_how_many_readers_others_have(made):
    wider = np.pad(made.reader_malignancy, ((0, 0), (0, 2)), constant_values=np.nan)
    assert digest.of(replace(made, reader_malignancy=wider)).crops == digest.of(made).crops
    assert found(made, replace(made, reader_malignancy=made.reader_malignancy[:, ::-1].copy())).told


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda text: "", "cannot be read"),
        (lambda text: text[5:], "is no cohort's digest"),
        (lambda text: text.replace("voxels,told", "voxels"), "is no cohort's digest"),
        (lambda text: text + "x,1\n", "line 6: not a nodule"),
        (lambda text: text + text.splitlines()[-1] + "\n", "line 6: .*twice"),
        (lambda text: re.sub(r"[-\d.]+\n$", "nan\n", text), "line 5: not a nodule"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "was cut or edited"),
        (lambda text: re.sub(r"[-\d.]+\n$", "1.00\n", text), "was cut or edited"),
    ],
)
def test_what_is_no_digest_is_said(made, tmp_path, spoil, sentence):
    path = tmp_path / "d.csv"
    digest.write(digest.of(made), path)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(InputError, match=sentence):
        digest.read(path)


def test_the_command_says_which_cohort_a_file_is_and_how_two_differ(made, tmp_path, capsys):
    mine, theirs = tmp_path / "mine.npz", tmp_path / "theirs.csv"
    store.write(made, mine)

    def compared(other) -> tuple[int, str]:
        digest.write(digest.of(other), theirs)
        status = command.main([str(mine), str(theirs)])
        return status, " ".join(capsys.readouterr().out.split())

    assert command.main([str(mine)]) == 0
    assert f"3 nodules of Toy, source toy, cohort {made.content_hash}" in " ".join(capsys.readouterr().out.split())
    status, said = compared(made)
    assert status == 0 and "They are one cohort" in said
    status, said = compared(variant(made, change=one_voxel))
    assert status == 0 and "Of 3 nodules in both, 2 have the same voxels" in said and "roundings give: b-1." in said
    status, said = compared(variant(made, change=lambda hu: hu + 24))
    assert status == 1 and "1 differ by more than roundings do, in a mean of the crop: b-1 (24.00 HU)." in said
    status, said = compared(variant(made, source="dicom"))
    assert status == 0 and "3 have the same voxels" in said and "by the name of the source or its note" in said
    assert math.isclose(digest.of(made).crops["a-0"].means_hu[0], made.volumes[0].mean(), abs_tol=0.006)
    assert command.main([str(tmp_path / "nowhere.csv")]) == 2 and "nowhere.csv" in capsys.readouterr().err
