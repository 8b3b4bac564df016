"""Two significant digits of the spread decide how a value, its spread and its bounds are printed."""

import pytest

from lora_core.csv_cells import as_text, from_text
from lora_core.reporting.digits import FIGURES, PERCENT, POINTS, RATIO, count


@pytest.mark.parametrize(
    ("value", "sd", "text"),
    [
        (91.4567, 3.4567, "91.5 ± 3.5"),
        (86.4567, 0.7071, "86.46 ± 0.71"),
        (1226.4, 13.2, "1226 ± 13"),
        (10564.1, 254.3, "10560 ± 250"),
        (5.0, 0.0996, "5.00 ± 0.10"),  # 0.0996 has the two digits 0.10
        (1.0, 0.0, "1.00"),
        (32.04, 1e-7, "32.0"),  # a spread that rounds to zero is none
        (0.000312, 0.0000041, "0.0003120 ± 0.0000041"),
        (0.0, 1.3, "0.0 ± 1.3"),
        (-0.04, 1.3, "0.0 ± 1.3"),  # zero has no sign
    ],
)
def test_a_standard_deviation_decides_the_decimals(value, sd, text):
    assert FIGURES.with_sd(value, sd) == text


@pytest.mark.parametrize(
    ("numbers", "values", "text"),
    [
        (POINTS, (-0.012, -0.03, 0.006), "−1.2 [−3.0, +0.6]"),
        (POINTS, (0.0, 0.0, 0.0), "0.0"),
        (POINTS, (6e-7, -8e-8, 1.3e-6), "0.0"),  # scores have at most two decimals
        (POINTS, (-0.0001, -0.03, 0.03), "0.0 [−3.0, +3.0]"),
        (PERCENT, (0.82, 0.795, 0.845), "82.0 [79.5, 84.5]"),
        (RATIO, (1.005, 0.9963, 1.0137), "1.0050 [0.9963, 1.0137]"),
        (RATIO, (0.938, 0.346, 2.547), "0.94 [0.35, 2.55]"),  # the lower side of a ratio decides
        (RATIO, (0.5, 0.5, 0.5), "0.50"),
    ],
)
def test_half_of_an_intervals_width_decides_the_decimals(numbers, values, text):
    assert numbers.with_bounds(*values) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.618, "0.618"), (1.6667, "1.67"), (12345.6, "12346"), (0.0, "0"), (-2.5, "−2.50"), (9.996, "10.0")],
)
def test_a_value_alone_has_three_significant_digits_and_no_exponent(value, text):
    assert FIGURES.one(value) == text


def test_counts_are_whole_numbers_with_separators():
    assert count(73728) == "73,728"


@pytest.mark.parametrize(
    "text", ["−1.2 [−3.0, +0.6]", "+0.6 [−0.4, +1.7]", "0.99 [0.76, 1.29]", "≥ 40.5", "91.5 ± 3.5"]
)
def test_a_figure_is_no_formula_of_a_spreadsheet(text):
    assert as_text(text) == text
    assert from_text(text) == text
