"""One radiologist against the others, models on the same reads, two readers against two."""

from dataclasses import astuple
from functools import partial
from itertools import combinations

import numpy as np
import pytest

from benchmark.bootstrap import patient_weights
from benchmark.contracts import Protocol
from benchmark.limit import CAVEATS, against_all, against_others, decisions_of, difference, model_on, pairs, scored
from benchmark.limittables import one_radiologist, readers_in_pairs
from benchmark.metrics import scores as scores_of_metrics
from benchmark.records import FitSpec
from datasets.protocols import LABEL_SETS, classify
from fakes import record

NAN = np.nan
THREE, TWO = LABEL_SETS["three"], LABEL_SETS["two"]
in_three, in_two = (partial(classify, label_set=name, rule="published") for name in ("three", "two"))
# Four nodules by hand. The second has too few readers; each of the others is as good as its readers.
BY_HAND = np.array([[1, 1, 5, NAN], [1, 2, NAN, NAN], [2, 3, 4, 5], [1, 1, 2, NAN]])
ONCE = np.ones((1, 4), dtype=int)


def invented(nodules: int = 300, seed: int = 0) -> np.ndarray:
    """Return scores of one to five readers who mostly agree."""
    rng = np.random.default_rng(seed)
    scores = np.clip(np.rint(rng.uniform(1, 5, (nodules, 1)) + rng.normal(0, 0.9, (nodules, 5))), 1, 5)
    return np.where(np.arange(5) < rng.integers(1, 6, (nodules, 1)), scores, NAN)


def triples(reads) -> list[tuple[int, int, list[float]]]:
    return list(zip(reads.nodules.tolist(), reads.labels.tolist(), reads.decided.tolist(), strict=True))


def test_each_reader_is_judged_by_the_mean_of_the_others():
    """Benign 1 and 1 against 3 (unsure), malignant 5 against 1; 2, 3, 4, 5 against 4, 11/3, 10/3, 3; all benign."""
    reads = against_others(BY_HAND, in_three, 3)
    assert reads.nodules.tolist() == [0, 0, 0, 2, 2, 2, 2, 3, 3, 3]
    assert reads.labels.tolist() == [1, 1, 0, 2, 2, 1, 1, 0, 0, 0]
    assert reads.decided.argmax(axis=1).tolist() == [0, 0, 2, 0, 1, 2, 2, 0, 0, 0]
    assert set(reads.decided.ravel()) == {0, 1}


def test_the_mean_of_all_includes_the_readers_own_score():
    """7/3 is benign, 3.5 malignant, 4/3 benign."""
    reads = against_all(BY_HAND, in_three, 3)
    assert reads.labels.tolist() == [0, 0, 0, 2, 2, 2, 2, 0, 0, 0] and len(reads) == 10
    assert scored(reads, THREE, ONCE)["accuracy"].value == 0.7


def test_a_score_of_three_is_half_right_where_there_are_two_classes():
    """Others' means of 3, 10/3 and 3 have no class: left are 5 against 1, 2 and 3 against malignant, and 1, 1, 2."""
    reads = against_others(BY_HAND, in_two, 2)
    expected = [(0, 0, [0, 1]), (2, 1, [1, 0]), (2, 1, [0.5, 0.5]), *[(3, 0, [1, 0])] * 3]
    assert triples(reads) == expected
    found = scored(reads, TWO, ONCE)
    assert found["accuracy"].value == pytest.approx(3.5 / 6)
    assert found["recall_benign"].value == pytest.approx(3 / 4)
    assert found["recall_malignant"].value == pytest.approx(0.5 / 2)
    assert found["f1_malignant"].value == pytest.approx(2 * 0.5 / (2 + 1.5))


def test_the_label_rule_decides_for_means_and_scores_alike():
    text = partial(classify, label_set="three", rule="text")
    scores = np.array([[2, 3, 3.5], [4, 3, 2]])
    assert against_others(scores, text, 3).labels.tolist() == [1, 1, 1, 1, 1, 1]
    assert against_others(scores, text, 3).decided.argmax(axis=1).tolist() == [0, 1, 1, 2, 1, 0]
    assert against_others(scores, in_three, 3).labels.tolist() == [1, 1, 0, 0, 1, 2]
    assert against_others(scores, in_three, 3).decided.argmax(axis=1).tolist() == [0, 1, 2, 2, 1, 0]


@pytest.mark.parametrize("make", [against_others, against_all])
@pytest.mark.parametrize(("classify", "classes"), [(in_three, 3), (in_two, 2)])
def test_reads_equal_a_plain_loop_over_nodules_and_readers(make, classify, classes):
    scores, expected = invented(), []
    for nodule, row in enumerate(scores):
        known = [score for score in row if score == score]
        for place, own in enumerate(known if len(known) >= 3 else []):
            asked = [score for at, score in enumerate(known) if make is against_all or at != place]
            label, mine = (int(classify(np.array([mean]))[0]) for mean in (sum(asked) / len(asked), own))
            if label >= 0:
                share = [1 / classes] * classes if mine < 0 else np.eye(classes)[mine].tolist()
                expected.append((nodule, label, share))
    assert triples(make(scores, classify, classes)) == expected


def test_two_readers_stand_against_two_in_three_ways():
    scores = invented()
    reads, expected = pairs(scores, in_three, 3), []
    for nodule, row in enumerate(scores):
        known = row[np.isfinite(row)]
        for one in combinations(range(4), 2) if len(known) == 4 else []:  # each way from either side
            other = [at for at in range(4) if at not in one]
            mine, theirs = (int(in_three(known[list(pair)].mean(keepdims=True))[0]) for pair in (one, other))
            expected.append((nodule, theirs, np.eye(3)[mine].tolist()))
    assert sorted(triples(reads)) == sorted(expected) and len(reads) > 100
    found = scored(reads, THREE, np.ones((1, 300), dtype=int))
    assert all(found[f"recall_{name}"].value == pytest.approx(found[f"f1_{name}"].value) for name in THREE)  # symmetric


def test_a_model_is_judged_on_the_same_reads_and_its_seeds_count_equally():
    reads = against_others(BY_HAND, in_three, 3)
    decisions = np.array([[1, 0, 2, 0], [0, 0, 2, -1]])
    theirs = model_on(reads, decisions)
    assert theirs.labels.tolist() == reads.labels.tolist() and theirs.nodules.tolist() == reads.nodules.tolist()
    assert theirs.decided[:4].tolist() == [
        *[[0.5, 0.5, 0]] * 3,
        [0, 0, 1],
    ]  # the second seed was not tested on the last
    assert scored(theirs, THREE, ONCE)["accuracy"].value == pytest.approx((3 * 0.5 + 2 + 3) / 10)


def test_a_model_has_no_read_of_a_nodule_that_it_did_not_decide():
    theirs = model_on(against_others(BY_HAND, in_three, 3), np.array([[1, 0, -1, -1]]))
    assert theirs.nodules.tolist() == [0, 0, 0]
    assert len(model_on(against_others(BY_HAND, in_three, 3), np.empty((0, 4), dtype=int))) == 0


def test_decisions_are_read_off_the_records_of_each_seed_with_the_rows_decoder():
    low, high = [0.4, 0.15, 0.45], [0.1, 0.1, 0.8]
    made = [
        record(FitSpec("three", "x", 1, 1), [0], [low], nodule_ids=("c",)),
        record(FitSpec("three", "x", 0, 1), [0, 1], [low, high], nodule_ids=("a", "d"), decoder="median"),
        record(FitSpec("three", "x", 0, 0), [0], [high], nodule_ids=("d",)),
        record(FitSpec("three", "x", 1, 0), [], [], status="failed", reason="broke"),
    ]
    assert decisions_of(made, ["a", "b", "c", "d"]).tolist() == [[-1, -1, -1, 2], [1, -1, 2, 2]]
    assert decisions_of(made[3:], ["a", "b"]).shape == (0, 2)


def test_scores_are_those_of_the_tables():
    """Decisions without shares are scored by the machine's own metrics too, kappa included."""
    reads = against_others(invented(), in_three, 3)
    protocol = Protocol("A", "A", "three", THREE, (0, 1, 2), (0, 2, 1))
    expected = scores_of_metrics(reads.labels, reads.decided, "argmax", protocol, "open")
    found = scored(reads, THREE, np.ones((1, 300), dtype=int))
    assert {name: one.value for name, one in found.items()} == pytest.approx({name: expected[name] for name in found})
    assert all(one.low == pytest.approx(one.value) == one.high for one in found.values())  # each nodule drawn once


def test_a_replicate_is_what_its_drawn_nodules_give():
    """A nodule that is drawn twice stands twice, one that is not drawn is not there."""
    scores = invented(40)
    drawn = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40))
    copies = scores[np.repeat(np.arange(40), drawn)]
    expected = scored(against_others(copies, in_three, 3), THREE, np.ones((1, len(copies)), dtype=int))
    found = scored(against_others(scores, in_three, 3), THREE, drawn[None])
    assert all(one.low == one.high == pytest.approx(expected[name].value) for name, one in found.items())
    whole = scored(against_others(scores, in_three, 3), THREE, np.ones((1, 40), dtype=int))
    assert all(one.value == whole[name].value for name, one in found.items())  # the figure itself is of all nodules


def test_a_difference_is_paired():
    """A model that decides as the label is better than the reader by his errors in each replicate, and as itself."""
    reads = against_others(invented(), in_three, 3)
    weights = patient_weights([f"p{number // 2}" for number in range(300)], 200, 0)
    reader = scored(reads, THREE, weights)["accuracy"]
    assert astuple(difference(reads, reads, weights)) == (0, 0, 0)
    right = type(reads)(reads.nodules, reads.labels, np.eye(3)[reads.labels])
    found = difference(right, reads, weights)
    assert astuple(found) == pytest.approx((1 - reader.value, 1 - reader.high, 1 - reader.low))
    assert found.low < found.value < found.high


def test_a_class_that_is_decided_and_never_true_has_no_f1():
    found = scored(against_others(np.array([[1.0, 1, 5]]), in_three, 3), THREE, np.ones((1, 1), dtype=int))
    assert np.isnan([found["f1_malignant"].value, found["recall_malignant"].value]).all()
    assert found["f1_benign"].value == 0.0 and found["f1_unsure"].value == 0.0


def test_what_no_read_defines_is_a_dash():
    few = np.array([[1, 2, NAN, NAN]])
    table = one_radiologist(few, in_three, THREE, {}, np.ones((3, 1), dtype=int))
    assert table[1][1:-2] == ["0", *["-"] * 8] and readers_in_pairs(few, in_three, THREE, ONCE[:, :1])[1][2] == "-"


def test_the_table_has_the_reader_and_models_on_the_same_reads():
    models = {"Model": np.array([[0, 0, 2, 0]]), "Half": np.array([[0, -1, -1, 0]])}
    header, others, everyone, model, half = one_radiologist(
        BY_HAND, in_three, THREE, models, np.ones((5, 4), dtype=int)
    )
    assert header[1:4] == ["Reads", "Accuracy", "Benign recall"]
    assert header[-3:] == ["Weighted kappa", "One radiologist on these reads", "Difference"]
    assert {len(line) for line in (others, everyone, model, half)} == {len(header)}
    assert others[1:3] == ["10", "30.0 (30.0 to 30.0)"] and everyone[1:3] == ["10", "70.0 (70.0 to 70.0)"]
    assert model[:3] == ["Model", "10", "60.0 (60.0 to 60.0)"]
    assert model[-2:] == ["30.0 (30.0 to 30.0)", "+30.0 (+30.0 to +30.0)"]
    assert half[:2] == ["Half", "6"] and half[2] == "66.7 (66.7 to 66.7)"  # four of its six reads
    assert half[-2:] == ["50.0 (50.0 to 50.0)", "+16.7 (+16.7 to +16.7)"]


def test_the_caveats_say_what_it_is_not():
    said = " ".join(CAVEATS)
    assert all(word in said for word in ("unblinded", "two others", "no ceiling", "pathology", "LIDC-C"))
