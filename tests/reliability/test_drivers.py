"""Several drivers in one folder share the work."""

import time
from collections import Counter

from grids import SMOKE, Grid


def test_drivers_in_one_folder_make_each_fit_once(zygote, cohort, grid, tmp_path, many, figures):
    if many.is_large:
        sixty = (*SMOKE, "--folds", "5", "--seeds", "2", "--datasets", "A", "C", "--methods", "ce")
        grid = Grid.make(zygote, cohort, tmp_path / "unbroken", sixty)
    counted, run = tmp_path / "counted.txt", tmp_path / "run"
    begun = time.monotonic()
    drivers = [grid.start(run, counted=str(counted)) for _ in range(many.drivers)]
    for driver in drivers:
        assert zygote.wait(driver, 1200) == 0, driver.said.read_text()
    grid.check(run)
    trained = Counter(counted.read_text().split())
    assert len(trained) == len(grid.fits(run)) and max(trained.values()) <= 2
    figures["drivers in one folder, --workers 0"] = {
        "drivers": len(drivers),
        "fits": len(trained),
        "trainings": trained.total(),
        "seconds": round(time.monotonic() - begun, 1),
    }
