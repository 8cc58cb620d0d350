"""From a file of slices to the tables, in the command a user types."""

import numpy as np
import pytest

from benchmark.commands import fidelity
from benchmark.fidelity.slices import read, repeat_edges
from benchmark.fidelity.statistics import spectrum
from datasets.lidc.collections import Phantom
from shared import SLICES, needs


@pytest.fixture(scope="module")
def phantom():
    """The collection, with its nodules clustered once."""
    return Phantom()


@pytest.fixture(autouse=True)
def once(phantom, monkeypatch):
    monkeypatch.setattr(fidelity, "Phantom", lambda: phantom)


def test_prints_all_that_it_measures(phantom, tmp_path, capsys):
    some = phantom.nodules()[::44]
    hu = np.concatenate([phantom.make(part).volumes[:, 15] for part in phantom.parts(some)])
    ids, covered = np.array([nodule.id for nodule in some]), np.ones((len(some), 2, 32), dtype=bool)
    np.savez(tmp_path / "real.npz", nodule_id=ids, hu=hu, covered=covered)
    assert fidelity.main([str(tmp_path / "real.npz"), "--seeds", "1", "--folds", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("surroundings") == 2 and "real / phantom" in printed
    assert "LIDC-A: accuracy" in printed and "LIDC-C: accuracy" in printed and "LIDC-B" not in printed
    assert printed.count("gains") == 2 and "told apart: AUC 0." in printed


def test_a_nodule_that_nobody_knows_is_bad_input(tmp_path, capsys):
    arrays = {"hu": np.zeros((1, 32, 32), dtype=np.int16), "covered": np.ones((1, 2, 32), dtype=bool)}
    np.savez(tmp_path / "real.npz", nodule_id=np.array(["nobody"]), **arrays)
    assert fidelity.main([str(tmp_path / "real.npz")]) == 2
    assert "there is no nodule 'nobody'" in capsys.readouterr().err


@needs(SLICES)
def test_real_slices_have_at_most_three_times_the_phantoms_power_and_at_least_half_of_it(phantom):
    real = read(SLICES)
    rows = np.arange(0, len(real.nodule_ids), 5)
    known = {nodule.id: nodule for nodule in phantom.nodules()}
    rendered = fidelity.rendered(phantom, [known[real.nodule_ids[row]] for row in rows])
    window = -1000, 400
    ratio = spectrum(real.hu[rows].clip(*window)) / spectrum(repeat_edges(rendered, real.covered[rows]).clip(*window))
    assert (ratio > 0.5).all() and (ratio < 3).all()
