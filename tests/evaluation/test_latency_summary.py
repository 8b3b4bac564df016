"""Latency: medians, tails, paired ratios, and when enough rounds were timed."""

import pytest
from builders import FFT, MERGED, UNMERGED, latency_rows

from lora_core.evaluation.latency_summary import decided, summarize


def test_a_slow_round_slows_both_sides_of_its_ratio():
    load = [1.0, 1.0, 8.0, 1.0, 3.0, 1.0]  # another program on the machine
    timings = summarize(
        latency_rows(
            {FFT: [0.5 * s for s in load], MERGED: [0.501 * s for s in load], UNMERGED: [0.6 * s for s in load]}
        ),
        "pass",
        0.03,
        FFT,
    )
    fft, merged, unmerged = timings
    assert fft.comparison is None
    assert merged.comparison.ratio == pytest.approx(1.002)
    assert merged.comparison.verdict == "equivalent"
    assert unmerged.comparison.ratio == pytest.approx(1.2)
    assert unmerged.comparison.verdict == "slower"
    assert fft.p50_seconds == 0.5
    assert fft.p95_seconds > 1.5
    assert fft.examples_per_second == 400


def test_modes_do_not_mix():
    both = latency_rows({FFT: [0.5, 0.5]}) + latency_rows({FFT: [0.01] * 4}, mode="single", examples=1)
    assert summarize(both, "pass", 0.03, FFT)[0].rounds == 2
    single = summarize(both, "single", 0.03, FFT)[0]
    assert (single.rounds, single.p50_seconds, single.examples_per_second) == (4, 0.01, 100)


def test_timing_continues_until_every_merged_variant_is_decided():
    equal = {FFT: [0.5, 0.5, 0.5], MERGED: [0.5, 0.501, 0.499]}
    assert decided(summarize(latency_rows(equal), "pass", 0.03, FFT))
    noisy = equal | {("lora_ref", "merged"): [0.3, 0.5, 0.8]}
    assert not decided(summarize(latency_rows(noisy), "pass", 0.03, FFT))
    unmerged = equal | {UNMERGED: [0.3, 0.5, 0.8]}  # how much faster merging is needs no decision
    assert decided(summarize(latency_rows(unmerged), "pass", 0.03, FFT))


@pytest.mark.parametrize(
    ("times", "against"), [({MERGED: [0.5, 0.6]}, FFT), ({FFT: [0.5, 0.9], MERGED: [0.5, 0.6]}, None)]
)
def test_without_a_reference_nothing_is_compared(times, against):
    timings = summarize(latency_rows(times), "pass", 0.03, against)
    assert {timing.comparison for timing in timings} == {None}
    assert decided(timings)


def test_the_comparison_does_not_depend_on_the_names_of_entries():
    times = {FFT: [0.5, 0.51, 0.5], MERGED: [0.6, 0.6, 0.63]}
    renamed = {("everything", "plain"): times[FFT], ("fft", "merged"): times[MERGED]}
    expected = summarize(latency_rows(times), "pass", 0.03, FFT)
    actual = summarize(latency_rows(renamed), "pass", 0.03, ("everything", "plain"))
    assert [timing.comparison for timing in actual] == [timing.comparison for timing in expected]
