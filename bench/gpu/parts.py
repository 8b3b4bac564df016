"""The parts of the benchmark, one after the other: how two runs follow each other, the device's peak, all cases."""

import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from bench.gpu.arithmetic import epoch_flops, flops_by_length
from bench.gpu.cases import Case, all_cases, smoke_cases
from bench.gpu.check import one_line, run_checks
from bench.gpu.context import METHODS, PRECISIONS, GpuContext
from bench.gpu.handover import measure_handover
from bench.gpu.product import measure_product
from bench.gpu.results import Results
from bench.gpu.trainer import measure_trainer
from lora_core.measuring.device_constants import peak_flops
from lora_core.precision import allow_tf32

HANDOVER_SECONDS, PEAK_SECONDS = 60, 10  # about, on an H200


@dataclass(frozen=True)
class Part:
    """Something to measure: its name, about how many seconds it takes on an H200, and what measures it."""

    name: str
    estimate: int
    run: Callable[[], None]


def describe() -> str:
    """Return the names of all cases, and about how long each takes."""
    cases = all_cases()
    minutes = (HANDOVER_SECONDS + PEAK_SECONDS + sum(case.estimate for case in cases)) / 60
    return "\n".join([*(f"{case.estimate:4d} s  {case.name}" for case in cases), f"about {minutes:.0f} minutes in all"])


def open_results(folder: Path, threads: int, smoke: bool) -> tuple[GpuContext, Results]:
    """Return what the benchmark runs on, and results without content."""
    torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    context = GpuContext(folder, None, threads, quick=smoke, device="cpu" if smoke else "cuda")
    return context, Results(folder, torch.device("cpu") if smoke else torch.device("cuda", 0), threads, smoke)


def measure(context: GpuContext, results: Results, words: Sequence[str], deadline: float) -> None:
    """Measure everything, or the cases whose names have all of these words; write the results after each part.

    A part that would end after the deadline (of `time.monotonic`) is skipped, and so is one that fails.
    """
    for part in _parts(context, results, words):
        left = max(0.0, deadline - time.monotonic())
        if part.estimate > left:
            results.skipped[part.name] = f"takes about {part.estimate} s, and {left:.0f} s are left"
        else:
            print(f"bench.gpu: {part.name}", file=sys.stderr, flush=True)
            try:
                part.run()
            except Exception as error:  # of any kind, from any library: the other parts are measured all the same
                results.skipped[part.name] = one_line(error)
            _release_memory()
        results.write()


def check(context: GpuContext, results: Results) -> None:
    """Do all checks; write the results after each."""
    for result in run_checks(context):
        print(f"bench.gpu: {result.result}: {result.name}: {result.details}", file=sys.stderr, flush=True)
        results.checks.append(result)
        _release_memory()
        results.write()


def _parts(context: GpuContext, results: Results, words: Sequence[str]) -> list[Part]:
    cases = smoke_cases() if context.quick else all_cases()
    parts = [
        Part("two runs, one after the other", HANDOVER_SECONDS, partial(_measure_handover, context, results)),
        Part("the device's peak", PEAK_SECONDS, partial(_measure_peaks, context, results)),
    ]
    # The first comes before this process is on the device.
    return (parts[1:] if words else parts) + [
        Part(case.name, case.estimate, partial(_measure_case, context, results, case))
        for case in cases
        if set(words) <= set(case.name.split())
    ]


def _measure_handover(context: GpuContext, results: Results) -> None:
    results.handover = measure_handover(context)


def _measure_peaks(context: GpuContext, results: Results) -> None:
    for precision in PRECISIONS:
        allow_tf32(precision == "tf32")
        results.peaks[precision] = peak_flops(results.device, precision, 64 if context.quick else 8192)


def _measure_case(context: GpuContext, results: Results, case: Case) -> None:
    allow_tf32(False)  # what torch begins with
    measured = measure_trainer(case, context) if case.is_trainer else measure_product(case, context)
    results.cases[case] = measured
    if (case.task, case.method) not in results.flops:
        polynomial = flops_by_length(context.model(), METHODS[case.method])
        results.flops[case.task, case.method] = epoch_flops(polynomial, context.lengths(case.task))


def _release_memory() -> None:
    """Free what a part used, so that the next one's memory is its own."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
