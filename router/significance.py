"""Computes from the counts of an A/B test how sure its result is: two-proportion z-test, Fisher's exact test, intervals, Holm.

Each variant is compared with the control. Sources:

- Two-proportion z-test, pooled and two-sided; its square is Pearson's chi-squared of the 2 x 2 table: A. Agresti, *Categorical
  Data Analysis*, 3rd ed., Wiley 2013, sections 3.1 and 3.2.
- Fisher's exact test, two-sided by the probabilities of all tables that are no likelier than the one observed: the same, 3.5;
  used where an expected count of the table is below 5 (W. G. Cochran, *Biometrics* 10 (1954), 417-451).
- Interval of the difference: R. G. Newcombe, *Statistics in Medicine* 17 (1998), 873-890, method 10 (of two Wilson scores).
- Interval of the lift: D. Katz et al., *Biometrics* 34 (1978), 469-474 (normal on the logarithm of the ratio).
- Several variants: S. Holm, *Scandinavian Journal of Statistics* 6 (1979), 65-70 (step-down adjustment).

These are tests of a fixed sample. Who looks at the p-value again and again and stops when it is small errs more often than
`alpha` says; decide on the sample's size before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

Z_TEST = "two-proportion z-test (pooled, two-sided)"
Z_SOURCE = "A. Agresti, Categorical Data Analysis, 3rd ed., 2013, sections 3.1-3.2"
FISHER = "Fisher's exact test (two-sided)"
FISHER_SOURCE = "A. Agresti, Categorical Data Analysis, 3rd ed., 2013, section 3.5"

ALPHA = 0.05
# Cochran's rule: below this expected count the normal approximation is not trusted.
MIN_EXPECTED = 5
# Up to so many factors are multiplied one by one; the logarithms of factorials lose digits where counts are huge.
MAX_FACTORS = 20_000
# Of tables that are as likely as the one observed but for rounding.
_TIES = 1 + 1e-7


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant of a test: its name, and how many of its trials were successes."""

    name: str
    successes: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.trials or self.trials == 0:
            raise ValueError(f"{self.name}: {self.successes} successes of {self.trials} trials")

    @property
    def rate(self) -> float:
        return self.successes / self.trials


@dataclass(frozen=True, slots=True)
class Comparison:
    """One variant beside the control. Differences are of rates; `lift` is relative to the control's rate.

    `statistic` is z, and None for the exact test; the lift is None where the control has no successes, its interval where one
    of the two has none.
    """

    variant: str
    rate: float
    difference: float
    interval: tuple[float, float]
    lift: float | None
    lift_interval: tuple[float, float] | None
    test: str
    source: str
    statistic: float | None
    p_value: float
    p_adjusted: float
    significant: bool


def compare(control: Arm, variants: Sequence[Arm], alpha: float = ALPHA) -> list[Comparison]:
    """Compares each variant with the control; with several, p-values are adjusted by Holm's method."""
    tested = [_test(control, variant) for variant in variants]
    adjusted = holm([p for _, _, p in tested])
    found = []
    for variant, (test, statistic, p), corrected in zip(variants, tested, adjusted, strict=True):
        found.append(
            Comparison(
                variant=variant.name,
                rate=variant.rate,
                difference=variant.rate - control.rate,
                interval=difference_interval(control, variant, alpha),
                lift=variant.rate / control.rate - 1 if control.successes else None,
                lift_interval=lift_interval(control, variant, alpha),
                test=test,
                source=Z_SOURCE if test == Z_TEST else FISHER_SOURCE,
                statistic=statistic,
                p_value=p,
                p_adjusted=corrected,
                significant=corrected < alpha,
            )
        )
    return found


def winner(control: Arm, comparisons: Sequence[Comparison]) -> str | None:
    """Names the best of the variants that are significantly better than the control, or the control where all are worse."""
    better = [found for found in comparisons if found.significant and found.difference > 0]
    if better:
        return max(better, key=lambda found: found.rate).variant
    if comparisons and all(found.significant for found in comparisons):
        return control.name
    return None


def _test(control: Arm, variant: Arm) -> tuple[str, float | None, float]:
    if smallest_expected(control, variant) < MIN_EXPECTED:
        return FISHER, None, fisher(control, variant)
    z, p = two_proportion_z(control, variant)
    return Z_TEST, z, p


def two_proportion_z(control: Arm, variant: Arm) -> tuple[float, float]:
    """Tests that two proportions are one: z (positive where the variant's is larger) and the two-sided p-value."""
    pooled = (control.successes + variant.successes) / (control.trials + variant.trials)
    error = math.sqrt(pooled * (1 - pooled) * (1 / control.trials + 1 / variant.trials))
    if error == 0:
        return 0.0, 1.0
    z = (variant.rate - control.rate) / error
    return z, math.erfc(abs(z) / math.sqrt(2))


def smallest_expected(control: Arm, variant: Arm) -> float:
    """The smallest count that a cell of the 2 x 2 table has where both have the same rate."""
    successes = control.successes + variant.successes
    trials = control.trials + variant.trials
    return min(control.trials, variant.trials) * min(successes, trials - successes) / trials


def fisher(control: Arm, variant: Arm) -> float:
    """The two-sided p-value of Fisher's exact test."""
    successes = control.successes + variant.successes
    trials = control.trials + variant.trials
    # The cell whose expected count is the smallest: its distribution is over soonest.
    arm = min(control, variant, key=lambda each: each.trials)
    rare = min(successes, trials - successes)
    seen = arm.successes if rare == successes else arm.trials - arm.successes
    probabilities = _hypergeometric(trials, arm.trials, rare)
    bound = probabilities[seen] * _TIES if seen < len(probabilities) else 0.0
    return min(1.0, math.fsum(each for each in probabilities if each <= bound))


def _hypergeometric(among: int, drawn: int, marked: int) -> list[float]:
    """The probabilities that 0, 1, 2, … of `drawn` are marked, up to where they are smaller than any float."""
    fewer, more = sorted((drawn, marked))
    if fewer <= MAX_FACTORS:
        probability = math.exp(math.fsum(math.log1p(-more / (among - place)) for place in range(fewer)))
    else:
        probability = math.exp(_log_choose(among - more, fewer) - _log_choose(among, fewer))
    found = [probability]
    for count in range(fewer):
        ways = (fewer - count) * (more - count)
        probability *= ways / ((count + 1) * (among - fewer - more + count + 1))
        if probability == 0.0:
            break
        found.append(probability)
    return found


def difference_interval(control: Arm, variant: Arm, alpha: float = ALPHA) -> tuple[float, float]:
    """The confidence interval of the variant's rate less the control's (Newcombe's method 10)."""
    low, high = wilson(variant, alpha)
    control_low, control_high = wilson(control, alpha)
    difference = variant.rate - control.rate
    return (
        difference - math.hypot(variant.rate - low, control_high - control.rate),
        difference + math.hypot(high - variant.rate, control.rate - control_low),
    )


def wilson(arm: Arm, alpha: float = ALPHA) -> tuple[float, float]:
    """The score interval of one proportion (E. B. Wilson, JASA 22 (1927), 209-212)."""
    z = _quantile(alpha)
    trials, rate = arm.trials, arm.rate
    middle = rate + z * z / (2 * trials)
    spread = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def lift_interval(control: Arm, variant: Arm, alpha: float = ALPHA) -> tuple[float, float] | None:
    """The confidence interval of the lift; None where one of the two has no successes."""
    if not control.successes or not variant.successes:
        return None
    error = math.sqrt(
        1 / variant.successes - 1 / variant.trials + 1 / control.successes - 1 / control.trials,
    )
    ratio = math.log(variant.rate / control.rate)
    z = _quantile(alpha)
    return math.exp(ratio - z * error) - 1, math.exp(ratio + z * error) - 1


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values for having tested several, in their order."""
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def _log_choose(among: int, chosen: int) -> float:
    return math.lgamma(among + 1) - math.lgamma(chosen + 1) - math.lgamma(among - chosen + 1)


def _quantile(alpha: float) -> float:
    return NormalDist().inv_cdf(1 - alpha / 2)
