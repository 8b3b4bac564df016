"""What a figure shows of LoRA relative to full fine-tuning, in one sentence that is made from the records.

Where nothing follows, the sentence describes the figure, or says what leaves it open.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lora_core.evaluation.claim_rules import over_seeds
from lora_core.evaluation.comparison import points_between
from lora_core.evaluation.frames import LatencyRun
from lora_core.evaluation.latency_summary import summarize
from lora_core.evaluation.relative_changes import relative_changes
from lora_core.reporting.figures.style import counted, seed_count
from lora_core.reporting.inputs import DrawSettings
from lora_core.stats import Interval


def ratio_title(frame: pd.DataFrame, column: str, settings: DrawSettings, *, says: str, otherwise: str) -> str:
    """Say what LoRA takes of what full fine-tuning takes, as the claims define the ratio (`relative_changes`).

    `frame` has one row per run. `says` is such as "needs {} time per epoch of": the ratio and the other method are put
    in. `otherwise` describes the figure.
    """
    full, adapter = settings.references.full, settings.references.adapter
    if full is None or adapter is None or not {full, adapter} <= set(frame["method"]):
        return f"{otherwise}."
    changes = relative_changes(frame, column, settings.references, list(dict.fromkeys(frame["task"])))
    names = settings.references.names(settings.labels)
    short = "; ".join(re.split(r":| \(", reason)[0] for reason in changes.reasons)  # without the names of runs
    if not changes.measured:
        return f"{otherwise}: not measured."
    if changes.by_seed.empty:
        pair = f"{names['adapter']} relative to {names['full']}"
        return f"{otherwise}: {pair} is undecided, {short}."
    logs = changes.over_tasks
    interval = over_seeds(logs)
    ratio = math.exp(np.mean(logs))
    value = f"{ratio:.2f}"
    if interval:
        value += f" [{math.exp(interval.low):.2f}, {math.exp(interval.high):.2f}]"
    value += " of the" if ratio < 1 else " times the"
    sentence = f"{names['adapter']} {says.format(value)}"
    means = _means("geometric mean", len(changes.by_task), len(logs))
    return f"{sentence} {names['full']} ({means}){_open(short, interval)}."


def score_title(frame: pd.DataFrame, settings: DrawSettings, *, otherwise: str) -> str:
    """Say by how many points LoRA scores higher or lower than full fine-tuning."""
    sentence = score_sentence(frame, settings)
    return f"{settings.label(settings.references.adapter or '')} {sentence}." if sentence else f"{otherwise}."


def score_sentence(frame: pd.DataFrame, settings: DrawSettings) -> str:
    """Return the same without the name of LoRA; empty without a seed that has both on every task."""
    full, adapter = settings.references.full, settings.references.adapter
    if full is None or adapter is None or not {full, adapter} <= set(frame["method"]):
        return ""
    scores = frame.pivot(index="seed", columns=["method", "task"], values="best")
    differences = 100 * (scores[adapter] - scores[full])
    tasks = differences.columns[differences.notna().any()]
    by_seed = differences[tasks].dropna().mean(axis=1)
    if by_seed.empty:
        return ""
    interval, mean = over_seeds(list(by_seed)), float(by_seed.mean())
    known = interval is not None and interval.has_spread
    bounds = f" ({points_between(interval.low, interval.high)})" if interval and known else ""
    value = f"{abs(mean):.1f} points {'lower' if mean < 0 else 'higher'}{bounds} than"
    if round(mean, 1) == 0:
        value = f"as high{bounds} as"
    missing = differences.shape[1] - len(tasks)
    short = f"{counted(missing, '{} task')} without both" if missing else ""
    means = _means("mean", len(tasks), len(by_seed))
    return f"scores {value} {settings.references.names(settings.labels)['full']} ({means}){_open(short, interval)}"


def latency_title(runs: Sequence[LatencyRun], settings: DrawSettings, *, otherwise: str) -> str:
    """Say what the merged LoRA takes of the latency of full fine-tuning, and on how many tasks that is decided."""
    full, adapter = settings.references.full, settings.references.adapter
    against = None if full is None else (full, "plain")
    compared = [
        (run, timing.comparison)
        for run in runs
        for timing in summarize(run.rows, "pass", settings.latency_margin, against)
        if (timing.method, timing.variant) == (adapter, "merged") and timing.comparison
    ]
    if full is None or not compared:
        return f"{otherwise}."
    names = settings.references.names(settings.labels)
    ratio = math.exp(np.mean([math.log(result.ratio) for _, result in compared]))
    verdicts = Counter(
        "undecided" if run.record.provenance.shared or run.suspended else result.verdict for run, result in compared
    )
    n = len(compared)
    parts = [f"{verdict} in {verdicts[verdict]} of {n}" for verdict in _LATENCY if verdict in verdicts]
    over, found = (f"geometric mean of {n} timings", ", ".join(parts)) if n > 1 else ("1 timing", next(iter(verdicts)))
    return (
        f"{names['adapter']}, merged, takes {ratio:.2f} {'of' if ratio < 1 else 'times'} the latency of "
        f"{names['full']} ({over}); within a margin of {100 * settings.latency_margin:g} %: {found}."
    )


_LATENCY = ("equivalent", "faster", "slower", "undecided")


def of_all(frame: pd.DataFrame) -> str:
    """Say over what a figure's means are."""
    return f"mean over {counted(frame['task'].nunique(), '{} task')}, {seed_count(frame)}"


def _means(mean: str, tasks: int, seeds: int) -> str:
    over = f"{mean} of {counted(tasks, '{} task')}, " if tasks > 1 else ""
    return f"{over}{counted(seeds, 'n = {} seed')}"


def _open(reasons: str, interval: Interval | None) -> str:
    """Say what leaves a figure open; a difference is open while its interval holds that there is none."""
    if reasons:
        return f"; undecided: {reasons}"
    if interval and interval.has_spread and interval.low <= 0 <= interval.high:
        return "; undecided: the interval includes no difference"
    return ""
