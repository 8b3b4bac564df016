"""How often the verdict on a latency is wrong, although rounds are added until there is one."""

import math
import time
from types import SimpleNamespace

import numpy as np
import pytest
from builders import FFT, MERGED

from lora_core.evaluation import timed_rounds
from lora_core.evaluation.latency_summary import LEVEL, LOOKS, look_after
from lora_core.evaluation.timed_rounds import TimedRounds
from lora_core.stats import equivalence

MARGIN, PASSES, SPREAD = 0.03, 5, 0.03
STUDIES = 3000


def verdicts(true_ratio, looks, level):
    """The shares of verdicts in simulated comparisons that stop at their first verdict."""
    draws = np.random.default_rng(7).normal(math.log(true_ratio), SPREAD, (STUDIES, looks[-1]))
    counts = dict.fromkeys(("equivalent", "slower", "faster", "undecided"), 0.0)
    for log_ratios in draws:
        results = (equivalence(log_ratios[:rounds], MARGIN, level).verdict for rounds in looks)
        counts[next((result for result in results if result != "undecided"), "undecided")] += 1 / STUDIES
    return counts


LOOKS_TAKEN = [rounds for rounds in range(1, 1000) if look_after(rounds, PASSES)]


def test_rounds_are_examined_a_fixed_number_of_times():
    assert LOOKS_TAKEN == [5, 10, 20, 40, 80, 160]
    assert len(LOOKS_TAKEN) == LOOKS


@pytest.mark.parametrize("mistake", ["equivalent", "slower"])
def test_at_the_margin_each_mistake_is_made_in_at_most_5_percent(mistake):
    rate = verdicts(1 + MARGIN, LOOKS_TAKEN, LEVEL)[mistake]
    sampling_error = math.sqrt(0.05 * 0.95 / STUDIES)
    assert 0.02 < rate < 0.05 + 2 * sampling_error


def test_a_look_after_every_round_at_the_usual_level_errs_several_times_as_often():
    rate = verdicts(1 + MARGIN, range(5, 41), 0.90)["slower"]
    assert rate > 0.15


def test_equal_times_are_found_equivalent_and_six_percent_slower():
    assert verdicts(1.00, LOOKS_TAKEN, LEVEL)["equivalent"] > 0.99
    assert verdicts(1.06, LOOKS_TAKEN, LEVEL)["slower"] > 0.99


@pytest.mark.parametrize(("seconds", "rounds"), [(math.inf, 10), (0.0, 5)])
def test_timing_stops_at_a_look_or_when_its_time_is_over(monkeypatch, seconds, rounds):
    """The first five rounds decide nothing; the sixth to tenth would."""
    log_ratios = [-0.2, 0.2, 0.0, 0.1, -0.1]
    plan = SimpleNamespace(passes=PASSES, seconds=seconds, margin=MARGIN, reference="fft")
    rounds_of = TimedRounds.__new__(TimedRounds)
    rounds_of.plan = plan
    rows = []
    taken = 0
    monkeypatch.setattr(timed_rounds, "decided", lambda timings: timings[0].rounds >= 6)
    for number in rounds_of._numbers(rows, time.monotonic()):
        taken = number
        spent = math.exp(log_ratios[(number - 1) % 5])
        rows += [
            timed_rounds.LatencyRow(number, 1, *FFT, "pass", 200, 32, 1.0),
            timed_rounds.LatencyRow(number, 2, *MERGED, "pass", 200, 32, spent),
        ]
    assert taken == rounds
