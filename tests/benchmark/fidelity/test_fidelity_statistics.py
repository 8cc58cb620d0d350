import numpy as np
import pytest

from benchmark.fidelity.statistics import figure, regions, spectrum


def test_the_circle_of_half_the_side_is_the_nodule():
    i, j = np.indices((32, 32)) - 15.5
    hu = np.where(np.hypot(i, j) <= 8, 100, -800)[None].repeat(2, axis=0)
    found = regions(hu)
    assert set(found["nodule"]) == {100} and set(found["surroundings"]) == {-800}
    assert len(found["nodule"]) + len(found["surroundings"]) == hu.size
    assert len(found["nodule"]) / 2 == pytest.approx(np.pi * 64, rel=0.05)


@pytest.mark.parametrize("cycles", [3, 8, 13])
def test_a_wave_has_its_power_at_its_frequency(cycles):
    wave = 100 * np.sin(2 * np.pi * cycles * np.arange(32) / 32)
    for hu in (np.tile(wave, (1, 32, 1)), np.tile(wave[:, None], (1, 1, 32))):
        assert spectrum(hu).argmax() == cycles - 1


def test_white_noise_has_its_variance_at_every_frequency_and_the_mean_has_no_power():
    noise = 30 * np.random.default_rng(0).standard_normal((400, 32, 32))
    np.testing.assert_allclose(spectrum(noise)[2:], 900, rtol=0.06)
    np.testing.assert_allclose(spectrum(noise + 700), spectrum(noise), rtol=1e-6)
    np.testing.assert_allclose(spectrum(np.full((2, 32, 32), 40.0)), 0, atol=1e-9)


def test_an_interval_draws_patients_and_not_nodules():
    values = np.repeat([0.0, 1.0], 50)

    def mean(rows):
        return float(values[rows].mean())

    two = figure(["a"] * 50 + ["b"] * 50, mean)
    assert two.value == 0.5 and (two.low, two.high) == (0, 1)
    alone = figure([str(number) for number in range(100)], mean)
    assert 0.38 < alone.low < 0.42 and 0.58 < alone.high < 0.62  # 0.5 -+ 1.96 / 20


def test_a_draw_that_has_no_value_does_not_count():
    lonely = np.array([np.nan, np.nan, 2.0])
    found = figure(["a", "b", "c"], lambda rows: float(np.nanmean(lonely[rows])) if 2 in rows else np.nan)
    assert (found.value, found.low, found.high) == (2, 2, 2)
