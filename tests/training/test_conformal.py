"""Calibration, on data whose error law is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from upres.training.conformal import FACTORS, calibrated, coverage_by_factor

RNG = np.random.default_rng(31)


def test_coverage_is_that_of_counting_and_rises_with_the_factor() -> None:
    errors = RNG.exponential(3, (40, 50, 3)).round()
    widths = RNG.uniform(0.5, 6, (40, 50, 1))
    shares = coverage_by_factor(errors, widths)
    assert (np.diff(shares) >= 0).all()
    for place in (0, 1500, 3072, 4000, len(FACTORS) - 1):
        counted = (errors <= FACTORS[place] * widths * (1 + 1e-12)).mean()
        assert shares[place] == pytest.approx(counted, abs=1e-3)


def test_the_factor_of_a_known_law_is_found() -> None:
    # Of an exponential law the 90% quantile is ln 10 times its scale, whatever that is.
    pictures = []
    for _ in range(400):
        scales = RNG.uniform(0.5, 8) * RNG.uniform(0.5, 2, (60, 60))
        pictures.append(coverage_by_factor(RNG.exponential(scales), scales))
    found = calibrated(pictures, 0.9)
    # With n pictures it asks for a little more: (n + 1) / n of the risk, and 1 / n beside it.
    asked = 1 - (0.1 * 401 - 1) / 400
    assert found.factor == pytest.approx(-math.log(1 - asked), rel=0.01)
    assert np.mean(found.coverages) == pytest.approx(asked, abs=0.002)


def test_the_promise_holds_in_the_mean_although_pictures_differ() -> None:
    # Half-widths that are wrong by another factor in each picture: none is covered as promised,
    # and the mean over fresh pictures is, drawn anew two hundred times.
    level, fresh = 0.9, []
    for _ in range(200):
        wrong = np.exp(RNG.normal(0, 0.5, 90))
        tables = [coverage_by_factor(RNG.exponential(each, 400), np.ones(400)) for each in wrong]
        factor = calibrated(tables[:60], level).factor
        place = int(np.searchsorted(FACTORS, factor * (1 - 1e-9)))
        fresh.append(np.mean([table[place] for table in tables[60:]]))
    error = np.std(fresh) / math.sqrt(len(fresh))
    assert np.mean(fresh) > level - 2 * error
    assert np.mean(fresh) < level + 0.03


def test_more_coverage_needs_a_larger_factor_and_fewer_pictures_do() -> None:
    tables = [coverage_by_factor(RNG.exponential(1, 500), np.ones(500)) for _ in range(120)]
    factors = [calibrated(tables, level).factor for level in (0.5, 0.8, 0.9, 0.95)]
    assert factors == sorted(factors)
    assert len(set(factors)) == 4
    assert calibrated(tables[:20], 0.9).factor > calibrated(tables, 0.9).factor


def test_too_few_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        calibrated([], 0.9)
    table = coverage_by_factor(RNG.exponential(1, 500), np.ones(500))
    with pytest.raises(ValueError, match="too few"):
        calibrated([table] * 8, 0.9)
