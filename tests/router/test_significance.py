"""The significance of A/B tests against published figures."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.significance import (
    FISHER,
    Z_TEST,
    Arm,
    compare,
    difference_interval,
    fisher,
    holm,
    lift_interval,
    two_proportion_z,
    winner,
)

ARMS = st.integers(1, 400).flatmap(lambda n: st.integers(0, n).map(lambda x: Arm("arm", x, n)))

# Physicians' Health Study (Agresti, Categorical Data Analysis, 3.1.3): heart attacks under aspirin and under a placebo.
ASPIRIN, PLACEBO = Arm("aspirin", 104, 11037), Arm("placebo", 189, 11034)


def test_the_z_test_gives_the_published_chi_squared_of_the_physicians_health_study() -> None:
    z, p = two_proportion_z(ASPIRIN, PLACEBO)

    # Pearson's X2 of the table is published as 25.01; z squared is the same.
    assert z * z == pytest.approx(25.01, abs=0.005)
    assert p == pytest.approx(5.69e-7, rel=0.01)


def test_intervals_of_the_physicians_health_study_are_those_of_the_textbook() -> None:
    low, high = difference_interval(ASPIRIN, PLACEBO)
    relative = lift_interval(ASPIRIN, PLACEBO)

    assert (round(low, 3), round(high, 3)) == (0.005, 0.011)
    assert relative is not None
    # The textbook has the relative risk 1.82 with the interval from 1.43 to 2.31; a lift is one less.
    assert (round(relative[0] + 1, 2), round(relative[1] + 1, 2)) == (1.43, 2.31)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [
        # Newcombe 1998, table II, method 10.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0000),
    ],
)
def test_the_interval_of_the_difference_is_the_published_one(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    found = difference_interval(Arm("control", *second), Arm("variant", *first))

    assert (round(found[0], 4), round(found[1], 4)) == (low, high)


def test_fishers_test_gives_the_published_p_values() -> None:
    # The lady tasting tea: 3 of 4 cups; and Fisher's twins of criminals, as in the manual of R's fisher.test.
    assert fisher(Arm("tea first", 1, 4), Arm("milk first", 3, 4)) == pytest.approx(0.4857, abs=5e-5)
    assert fisher(Arm("dizygotic", 2, 17), Arm("monozygotic", 10, 13)) == pytest.approx(0.0005367, abs=5e-8)


def test_holms_adjustment_is_the_published_one() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_small_counts_are_tested_exactly_and_large_ones_by_z() -> None:
    (small,) = compare(Arm("a", 1, 20), [Arm("b", 6, 20)])
    (large,) = compare(Arm("a", 200, 1000), [Arm("b", 260, 1000)])

    assert (small.test, small.statistic) == (FISHER, None)
    assert large.test == Z_TEST and large.significant and large.lift == pytest.approx(0.3)
    assert large.interval[0] < large.difference < large.interval[1]


def test_three_variants_are_adjusted_and_the_best_significant_one_wins() -> None:
    control = Arm("a", 200, 1000)
    found = compare(control, [Arm("b", 240, 1000), Arm("c", 260, 1000), Arm("d", 205, 1000)])

    assert [each.significant for each in found] == [False, True, False]
    # b alone would be significant: it is not, beside two others.
    assert found[0].p_value < 0.05 < found[0].p_adjusted
    assert winner(control, found) == "c"


def test_a_control_that_all_variants_are_worse_than_wins_and_a_draw_has_no_winner() -> None:
    control = Arm("a", 300, 1000)

    assert winner(control, compare(control, [Arm("b", 200, 1000)])) == "a"
    assert winner(control, compare(control, [Arm("b", 300, 1000)])) is None


def test_huge_counts_with_a_rare_success_take_no_time() -> None:
    (found,) = compare(Arm("a", 1, 10**12), [Arm("b", 8, 10**12)])

    # Nine successes that fall on either side like a coin: 2 (1 + 9) / 2**9.
    assert found.test == FISHER and found.p_value == pytest.approx(20 / 512)


@given(ARMS, ARMS)
def test_comparing_the_other_way_round_gives_the_same_p_value_and_the_mirrored_difference(one: Arm, other: Arm) -> None:
    (forth,), (back,) = compare(one, [other]), compare(other, [one])

    assert 0 <= forth.p_value <= 1 and forth.p_value == pytest.approx(back.p_value, abs=1e-9)
    assert forth.difference == -back.difference
    assert forth.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert forth.interval[0] - 1e-12 <= forth.difference <= forth.interval[1] + 1e-12


@given(ARMS, ARMS)
def test_fishers_test_agrees_with_the_sum_over_all_tables(one: Arm, other: Arm) -> None:
    total, drawn = one.trials + other.trials, one.successes + other.successes
    ways = [
        math.comb(one.trials, k) * math.comb(other.trials, drawn - k)
        for k in range(max(0, drawn - other.trials), min(drawn, one.trials) + 1)
    ]
    seen = math.comb(one.trials, one.successes) * math.comb(other.trials, other.successes)

    assert sum(ways) == math.comb(total, drawn)
    exact = sum(each for each in ways if each <= seen) / math.comb(total, drawn)
    assert fisher(one, other) == pytest.approx(exact, rel=1e-6, abs=1e-12)


def test_more_successes_than_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="3 successes of 2"):
        Arm("a", 3, 2)
