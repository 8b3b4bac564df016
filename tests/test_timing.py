"""Latency: medians, tails, paired ratios, and when enough rounds were timed."""

import pytest
from builders import FFT, MERGED, UNMERGED, latency_rows

from lora_core.evaluation import latency_summary as timing


def test_a_slow_round_slows_both_sides_of_its_ratio():
    load = [1.0, 1.0, 8.0, 1.0, 3.0, 1.0]  # another program on the machine
    found = timing.summarize(
        latency_rows(
            {FFT: [0.5 * s for s in load], MERGED: [0.501 * s for s in load], UNMERGED: [0.6 * s for s in load]}
        ),
        "pass",
        0.03,
    )
    fft, merged, unmerged = found
    assert fft.against is None
    assert merged.against.ratio == pytest.approx(1.002)
    assert merged.against.verdict == "equivalent"
    assert unmerged.against.ratio == pytest.approx(1.2)
    assert unmerged.against.verdict == "slower"
    assert fft.p50_seconds == 0.5
    assert fft.p95_seconds > 1.5
    assert fft.examples_per_second == 400


def test_modes_do_not_mix():
    both = latency_rows({FFT: [0.5, 0.5]}) + latency_rows({FFT: [0.01] * 4}, mode="single", examples=1)
    assert timing.summarize(both, "pass", 0.03)[0].rounds == 2
    single = timing.summarize(both, "single", 0.03)[0]
    assert (single.rounds, single.p50_seconds, single.examples_per_second) == (4, 0.01, 100)


def test_timing_goes_on_until_every_merged_variant_is_decided():
    equal = {FFT: [0.5, 0.5, 0.5], MERGED: [0.5, 0.501, 0.499]}
    assert timing.decided(timing.summarize(latency_rows(equal), "pass", 0.03))
    noisy = equal | {("lora_ref", "merged"): [0.3, 0.5, 0.8]}
    assert not timing.decided(timing.summarize(latency_rows(noisy), "pass", 0.03))
    unmerged = equal | {UNMERGED: [0.3, 0.5, 0.8]}  # what merging buys is told, however sure
    assert timing.decided(timing.summarize(latency_rows(unmerged), "pass", 0.03))


def test_without_full_fine_tuning_nothing_is_compared():
    found = timing.summarize(latency_rows({MERGED: [0.5, 0.6]}), "pass", 0.03)
    assert found[0].against is None
    assert timing.decided(found)
