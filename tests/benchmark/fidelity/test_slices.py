import numpy as np
import pytest

from benchmark.contracts import InputError
from benchmark.fidelity.slices import nearest, read, repeat_edges


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    covered = np.ones((3, 2, 32), dtype=bool)
    covered[1, 0, 30:] = False  # the last rows
    covered[2, 1, :2] = False  # the first columns
    return {
        "nodule_id": np.array(["a", "b", "c"]),
        "hu": random.integers(-1000, 100, (3, 32, 32)).astype(np.int16),
        "covered": covered,
    }


def test_what_is_covered_stays_and_what_is_not_repeats_the_edge(arrays):
    hu = arrays["hu"]
    made = repeat_edges(hu, arrays["covered"])
    np.testing.assert_array_equal(made[0], hu[0])
    np.testing.assert_array_equal(made[1, :30], hu[1, :30])
    np.testing.assert_array_equal(made[1, 30:], hu[1, [29, 29]])
    np.testing.assert_array_equal(made[2, :, 2:], hu[2, :, 2:])
    np.testing.assert_array_equal(made[2, :, :2], hu[2][:, [2, 2]])
    np.testing.assert_array_equal(repeat_edges(made, arrays["covered"]), made)


def test_nearest_looks_both_ways():
    covered = np.array([[False, True, False, False, True, False], [True] * 6])
    np.testing.assert_array_equal(nearest(covered), [[1, 1, 1, 4, 4, 4], [0, 1, 2, 3, 4, 5]])


def test_reads_what_was_written(arrays, tmp_path):
    np.savez(tmp_path / "real.npz", **arrays)
    real = read(tmp_path / "real.npz")
    assert real.nodule_ids == ("a", "b", "c")
    np.testing.assert_array_equal(real.hu, arrays["hu"])
    np.testing.assert_array_equal(real.covered, arrays["covered"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hu": np.zeros((3, 32, 31), dtype=np.int16)}, "hu has the shape"),
        ({"hu": np.zeros((3, 32, 32))}, "must be int16"),
        ({"covered": np.zeros((3, 2, 32), dtype=bool)}, "no row or no column"),
        ({"nodule_id": np.array(["a", "b", "a"])}, "twice"),
        ({"nodule_id": np.array(["a", "b"])}, "hu has the shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, tmp_path, change, words):
    np.savez(tmp_path / "real.npz", **(arrays | change))
    with pytest.raises(InputError, match=words):
        read(tmp_path / "real.npz")


def test_no_file_another_file_and_a_missing_array_are_refused(arrays, tmp_path):
    (tmp_path / "text.npz").write_text("no arrays")
    np.savez(tmp_path / "less.npz", hu=arrays["hu"])
    for name in ("none.npz", "text.npz", "less.npz"):
        with pytest.raises(InputError, match="cannot read slices"):
            read(tmp_path / name)


def test_an_array_that_is_missing_is_named_plainly(arrays, tmp_path):
    np.savez(tmp_path / "less.npz", nodule_id=arrays["nodule_id"], hu=arrays["hu"])
    with pytest.raises(
        InputError, match=r"less\.npz \(it lacks the array covered\): give an \.npz file with nodule_id"
    ):
        read(tmp_path / "less.npz")
    np.save(tmp_path / "array.npy", arrays["hu"])
    with pytest.raises(InputError, match=r"array\.npy \(it is an \.npy of one array\): give an \.npz file"):
        read(tmp_path / "array.npy")
