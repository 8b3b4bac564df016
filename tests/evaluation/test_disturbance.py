"""Which runs were disturbed, from epochs whose wall-clock and processor seconds are written out."""

import pandas as pd
import pytest
from builders import REFERENCES, energy_run

from lora_core.evaluation.cost_to_threshold import cost_rows
from lora_core.evaluation.disturbance import is_disturbed


def epochs(seconds, all_threads=None, alone=None, part=None):
    """A history: wall-clock seconds, and processor seconds of all threads and of the one that trains."""
    columns = {"part": part or [0] * len(seconds), "train_seconds": seconds}
    columns |= {"train_processor_seconds": all_threads} if all_threads else {}
    columns |= {"train_thread_seconds": alone} if alone else {}
    return pd.DataFrame(columns)


def on_cpu(history, *others):
    return is_disturbed(history, True, [history, *others])


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_a_run_that_gets_its_processors_is_not_disturbed_however_well_it_uses_its_threads(threads):
    for used in (1.0, (1 + threads) / 2, threads):
        assert on_cpu(epochs([4.0, 2.0, 2.1, 1.9], [2 * used] * 4, [1.9] * 4)) is False


def test_a_run_that_waits_from_start_to_end_is_disturbed_although_its_epochs_are_alike():
    assert on_cpu(epochs([4.0] * 4, [2.0] * 4, [2.0] * 4)) is True  # one thread, next to one other process
    assert on_cpu(epochs([4.0] * 4, [5.0] * 4, [2.5] * 4)) is True  # two threads, next to one other process


def test_threads_that_spin_while_another_waits_are_noticed_next_to_other_seeds():
    quiet = epochs([2.0] * 3, [4.0] * 3, [2.0] * 3)
    spinning = epochs([3.0] * 3, [4.5] * 3, [3.0] * 3)
    assert on_cpu(spinning) is False
    assert on_cpu(spinning, quiet) is True
    older_or_short = epochs([0.1] * 3, [0.1] * 3, [0.1] * 3)
    assert is_disturbed(spinning, True, [older_or_short, spinning, quiet]) is True
    assert is_disturbed(spinning, True, [quiet, spinning, older_or_short]) is True
    assert on_cpu(quiet, spinning) is False


@pytest.mark.parametrize("threads", [8, 64])
def test_one_of_many_threads_that_waits_is_noticed_by_the_time_of_other_seeds(threads):
    quiet = epochs([2.0] * 3, [2.0 * threads] * 3, [2.0] * 3)  # threads x wall at best
    one_waits = epochs([4.0] * 3, [4.0 * (threads - 0.5)] * 3, [4.0] * 3)  # the others spin
    assert on_cpu(one_waits) is False
    assert on_cpu(one_waits, quiet) is True
    assert on_cpu(quiet, one_waits) is False


@pytest.mark.parametrize("threads", [8, 64])
def test_a_quarter_of_many_processors_taken_is_noticed_next_to_other_seeds(threads):
    quiet = epochs([2.0] * 3, [2.0 * threads] * 3, [2.0] * 3)
    taken = epochs([2.7] * 3, [2.7 * threads * 0.75] * 3, [2.7] * 3)
    assert on_cpu(taken, quiet) is True
    assert on_cpu(quiet, taken) is False


@pytest.mark.parametrize("threads", [8, 64])
def test_threads_that_sleep_instead_of_spinning_disturb_no_run(threads):
    spinning, sleeping = (epochs([2.0] * 3, [2.0 * threads * used] * 3, [1.98] * 3) for used in (1.0, 0.5))
    assert on_cpu(sleeping, spinning) is on_cpu(spinning, sleeping) is False


def test_a_gpu_that_is_slow_throughout_is_noticed_next_to_other_seeds():
    slow, quick = epochs([3.1] * 3), epochs([2.0] * 3)
    assert is_disturbed(slow, False, [slow, quick]) is True
    assert is_disturbed(quick, False, [slow, quick]) is False


@pytest.mark.parametrize("cpu", [True, False])
def test_a_thread_that_worked_for_longer_than_the_epoch_lasted_shows_a_wrong_clock(cpu):
    history = epochs([2.0] * 3, [4.0] * 3, [2.4] * 3)
    assert is_disturbed(history, cpu, [history]) is True


@pytest.mark.parametrize(("seconds", "disturbed"), [([2, 2, 3.1], True), ([2, 2, 2.9], False), ([3, 1.9, 3, 3], True)])
@pytest.mark.parametrize("cpu", [True, False])
def test_an_epoch_that_stands_out_disturbs_a_run_on_any_device(cpu, seconds, disturbed):
    history = epochs([9.0, *map(float, seconds)])  # the first warms up; older records have no processor seconds
    assert is_disturbed(history, cpu, [history]) is disturbed


def test_a_gpu_is_not_judged_by_the_processors_of_its_host():
    history = epochs([2.0] * 3, [0.5] * 3, [0.5] * 3)
    assert is_disturbed(history, False, [history]) is False


def test_the_first_epoch_after_a_resume_warms_up_as_well():
    resumed = epochs([2.0, 2.0, 2.0, 5.0, 2.0], part=[0, 0, 0, 1, 1])
    assert on_cpu(resumed) is False
    assert on_cpu(epochs([2.0, 2.0, 2.0, 5.0, 2.0])) is True


def test_epochs_below_half_a_second_are_not_judged():
    assert on_cpu(epochs([0.1, 0.4, 0.1, 0.2], [0.1] * 4, [0.1] * 4)) is None
    assert on_cpu(epochs([0.1, 0.1, 0.1, 30.0])) is True  # no single pause of the system


def test_a_run_of_one_epoch_is_judged_by_it():
    assert on_cpu(epochs([4.0], [2.0], [2.0])) is True


def test_costs_name_the_disturbed_run_and_the_seconds_of_its_median_epoch():
    disturbed, quiet = energy_run("fft", 1, [0.9] * 4), energy_run("fft", 2, [0.9] * 4)
    disturbed.history["train_seconds"] = [10.0, 11.0, 10.0, 40.0]
    rows = cost_rows([disturbed, quiet], REFERENCES)
    assert [row.disturbed for row in rows] == [True, False]
    assert [row.median_epoch_seconds for row in rows] == [10.5, 10.0]
