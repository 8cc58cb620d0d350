import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.files import sha256
from benchmark.records import FORMAT, FitRecord, FitSpec, Metadata, Unusable, seal, unseal, versions
from fakes import record

SPEC = FitSpec("three", "linear", 1, 2)
WHOLE = record(
    SPEC,
    [0, 2],
    [[0.25, 0.5, 0.25], [0.0, 0.0, 1.0]],
    settings={"tau": 1.5, "losses": ["ic", "ia"]},
    metadata=Metadata({"torch": "2.9"}, "cpu", "abc-dirty", 1.5, [{"ce": 1.0}], {"tower": {"width": 64}}, ""),
)


def test_a_record_stands_below_its_label_set_and_row():
    assert SPEC.path().as_posix() == "three/linear/fold1-seed2.json"


def test_a_record_comes_back_as_it_was():
    back = FitRecord.from_bytes(WHOLE.to_bytes())
    for name, value in vars(WHOLE).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(back, name), value)
        else:
            assert getattr(back, name) == value, name
    assert back.labels.dtype == np.int64 and back.proba.dtype == np.float64


@given(st.lists(st.floats(2**-10, 1, width=32), min_size=2, max_size=5))
def test_every_single_precision_probability_is_kept_exactly(values):
    proba = np.array([values], dtype=np.float32)
    proba /= proba.sum()
    back = FitRecord.from_bytes(record(SPEC, [0], proba.tolist()).to_bytes())
    assert np.array_equal(back.proba.astype(np.float32), proba)


@pytest.mark.parametrize("status", ["failed", "unsupported"])
def test_a_fit_that_was_not_done_has_a_reason_and_no_numbers(status):
    back = FitRecord.from_bytes(record(SPEC, [], [], status=status, reason="it is nan").to_bytes())
    assert (back.status, back.reason, back.proba.shape) == (status, "it is nan", (0, 0))


def test_the_hash_in_the_file_is_that_of_the_records_own_bytes():
    data = WHOLE.to_bytes()
    outer = json.loads(data)
    start = data.index(b'"record":') + len(b'"record":')
    assert outer["format"] == FORMAT == 2 and outer["sha256"] == sha256(data[start:-1])


def test_metadata_that_json_cannot_hold_is_kept_by_its_repr():
    odd = replace(WHOLE, metadata=Metadata(method={"things": [complex(1, 2)]}))
    assert FitRecord.from_bytes(odd.to_bytes()).metadata.method == {"things": ["(1+2j)"]}


@given(st.integers(0, len(WHOLE.to_bytes()) - 1), st.integers(1, 255))
def test_any_changed_byte_is_noticed(place, change):
    data = bytearray(WHOLE.to_bytes())
    data[place] ^= change
    with pytest.raises(Unusable):
        FitRecord.from_bytes(bytes(data))


@given(st.integers(0, len(WHOLE.to_bytes()) - 1))
def test_a_record_that_ends_early_is_noticed(length):
    with pytest.raises(Unusable):
        FitRecord.from_bytes(WHOLE.to_bytes()[:length])


def test_an_edited_record_says_so():
    with pytest.raises(Unusable, match="edited or damaged: its content does not match its own hash"):
        FitRecord.from_bytes(WHOLE.to_bytes().replace(b'"labels":[0,2]', b'"labels":[0,1]'))


def test_another_format_says_which():
    with pytest.raises(Unusable, match="of another version of this suite: format 1, not 2"):
        unseal(seal(b"{}").replace(b'"format":2', b'"format":1'))


def test_what_was_sealed_comes_back():
    assert unseal(seal(b'{"a": [1, 2]}')) == b'{"a": [1, 2]}'


def resealed(**changes: object) -> bytes:
    content = json.loads(unseal(WHOLE.to_bytes())) | changes
    return seal(msgspec.json.encode(content))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": [0]}, "ids and labels differ in number"),
        ({"labels": [0, 3]}, "labels are missing or outside the classes"),
        ({"labels": [-1, 2]}, "labels are missing or outside the classes"),
        ({"labels": [], "nodule_ids": [], "proba": []}, "labels are missing or outside the classes"),
        ({"proba": [[0.5, 0.5, 0.5], [0, 0, 1]]}, "rows of probabilities do not sum to one"),
        ({"proba": [[0.5, 0.4989, 0.0], [0, 0, 1]]}, "rows of probabilities do not sum to one"),
        ({"proba": [[-0.5, 1.0, 0.5], [0, 0, 1]]}, "rows of probabilities do not sum to one"),
        ({"proba": [[None, 0.5, 0.5], [0, 0, 1]]}, "damaged"),
        ({"proba": [[0.5, 0.5], [0, 0, 1]]}, "damaged"),
        ({"labels": "none"}, "damaged"),
        ({"status": "well"}, "damaged .*status"),
        ({"decoder": "mode"}, "damaged .*decoder"),
        ({"spec": {"label_set": "three"}}, "damaged"),
        ({"identity": {}}, "damaged"),
        ({"metadata": None}, "damaged"),
    ],
)
def test_a_sealed_record_that_makes_no_sense_is_refused(changes, sentence):
    with pytest.raises(Unusable, match=sentence):
        FitRecord.from_bytes(resealed(**changes))


def test_rounding_to_three_digits_is_no_fault():
    assert FitRecord.from_bytes(resealed(proba=[[0.5, 0.4995, 0.0], [0, 0, 1]])).proba[0, 1] == 0.4995


@pytest.mark.parametrize("missing", ["labels", "proba", "spec", "key", "identity"])
def test_a_sealed_record_without_a_part_is_refused(missing):
    content = json.loads(unseal(WHOLE.to_bytes()))
    del content[missing]
    with pytest.raises(Unusable, match="damaged"):
        FitRecord.from_bytes(seal(msgspec.json.encode(content)))


def test_versions_name_python_and_every_package_that_a_result_may_depend_on():
    assert {"python", "torch", "timm", "open_clip_torch", "coral-pytorch", "scikit-learn", "numpy"} <= versions().keys()
