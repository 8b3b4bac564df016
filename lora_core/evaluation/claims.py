"""The paper's claims, each held against this study's records by a rule that is written down beside the verdict.

A verdict needs an interval: a claim is reproduced where the whole interval is on its side, not reproduced where the
whole interval is on the other, and undecided between. Across seeds there is none below three.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from lora_core.data.tasks import PAPER_TASKS, task_title
from lora_core.evaluation.frames import read_costs, read_differences, read_memory
from lora_core.evaluation.latency_summary import summarize
from lora_core.records import FULL, OWN, LatencyRow, atomic_file, read_json, read_rows
from lora_core.reporting.rendering import NA, Study, markdown_text
from lora_core.stats import MIN_SEEDS, Interval, t_interval

REPRODUCED, REFUTED, UNDECIDED, UNMEASURED = "reproduced", "not reproduced", "undecided", "not measured"
LORALIB = "lora_ref"

# Where the paper rounds or spans, the bound that stands for its words.
REDUCTION_PERCENT = 99.7  # after rounding to one decimal
WITHIN_FFT_POINTS = 2.0
WITHIN_LORALIB_POINTS = 1.1
MEMORY_PERCENT, MEMORY_TOLERANCE = 38.0, 5.0
FASTER_PERCENT = 30.0  # "approximately 40%" of 27 to 45: a quarter less at most


@dataclass(frozen=True)
class Verdict:
    """One claim: what was published, what this study has, and what follows by the rule."""

    claim: str
    published: str
    ours: str
    interval: str
    detectable: str
    verdict: str
    rule: str


@dataclass(frozen=True)
class Records:
    """What the claims are judged from."""

    counts: Path
    scores: Sequence[Path]
    latency: Sequence[Path]
    runs: Sequence[Path]
    costs: Sequence[Path]
    latency_margin: float
    simulated: bool = False


def above(interval: Interval | None, bound: float) -> str:
    """Whether a figure is above a bound."""
    if interval is None:
        return UNDECIDED
    return REPRODUCED if interval.low > bound else REFUTED if interval.high < bound else UNDECIDED


def within(interval: Interval | None, low: float, high: float) -> str:
    """Whether a figure lies between two bounds."""
    if interval is None:
        return UNDECIDED
    if interval.low >= low and interval.high <= high:
        return REPRODUCED
    return REFUTED if interval.high < low or interval.low > high else UNDECIDED


def every(verdicts: dict[str, str], tasks: Sequence[str]) -> str:
    """The verdict on a claim about every one of `tasks`: one task against it refutes it; one that is open, or not in
    the study, leaves it open."""
    found = [verdicts.get(task, UNDECIDED) for task in tasks]
    if not verdicts:
        return UNMEASURED
    return next((answer for answer in (REFUTED, UNDECIDED) if answer in found), REPRODUCED)


def over_seeds(values: Sequence[float]) -> Interval | None:
    """The t-interval of independent seeds; None below three."""
    return t_interval(values) if len(values) >= MIN_SEEDS else None


def judge(records: Records) -> list[Verdict]:
    """Every claim's verdict, in the paper's order."""
    differences = read_differences(records.scores)
    memory, costs = read_memory(records.runs), read_costs(records.costs)
    if records.simulated:  # a made-up device decides nothing
        memory, costs = memory.iloc[:0], costs.assign(energy=float("nan"), power=float("nan"))
    return [
        _trainable(records.counts),
        _score(
            differences, OWN, FULL, PAPER_TASKS, "LoRA within 2% of full fine-tuning on every task",
            "2 points (MRPC: 2.0)", lambda i: above(i, -WITHIN_FFT_POINTS / 100),
            f"on each of five tasks the interval of LoRA - FFT over seeds is above -{WITHIN_FFT_POINTS:g} points "
            "(refuted where one is below)",
        ),
        _score(
            differences, LORALIB, OWN, PAPER_TASKS, "own LoRA within 1.1 points of loralib on every task",
            "at most 1.1 points",
            lambda i: within(i, -WITHIN_LORALIB_POINTS / 100, WITHIN_LORALIB_POINTS / 100),
            f"on each of five tasks the interval of the difference over seeds is inside ±{WITHIN_LORALIB_POINTS:g} "
            "points (refuted where one is outside)",
        ),
        _score(
            differences, OWN, FULL, ("cola", "rte"), "LoRA beats full fine-tuning on CoLA and RTE",
            "+0.5 and +1.0 points", lambda i: above(i, 0.0),
            "on both tasks the interval of LoRA - FFT over seeds is above 0 (refuted where one is below)",
        ),
        _no_latency(records.latency, records.latency_margin),
        _memory(memory),
        _memory_and_length(memory, records.runs),
        _faster_epochs(costs),
        *_energy(costs),
        _power(costs),
        Verdict(
            "the gap to the LoRA paper on RTE comes from its MNLI start", "10.1 points", NA, NA, NA, UNMEASURED,
            "runs on RTE from a model that was adapted to MNLI reach the LoRA paper's score within its two standard "
            "deviations; nothing here judges that: compare table 2 of a study under the protocol hu-table9",
        ),
    ]  # fmt: skip


def _trainable(counts_file: Path) -> Verdict:
    counts = read_json(counts_file)
    own = counts["methods"].get(OWN)
    rule = (
        f"1 - trained / whole model, without the head, is at least {REDUCTION_PERCENT:g}% after rounding to one "
        "decimal; a count, so no interval"
    )
    if own is None:
        return Verdict("99.7% fewer trainable parameters", "99.76%", NA, NA, NA, UNMEASURED, rule)
    percent = 100 * (1 - own["trainable"] / counts["full"])
    with_head = 100 * (1 - (own["trainable"] + own["head"]) / counts["full"])
    verdict = REPRODUCED if round(percent, 1) >= REDUCTION_PERCENT else REFUTED
    ours = f"{percent:.2f}% ({with_head:.2f}% with the head)"
    return Verdict("99.7% fewer trainable parameters", "99.76%", ours, "exact", "exact", verdict, rule)


def _score(
    differences: pd.DataFrame,
    method: str,
    against: str,
    tasks: Sequence[str],
    claim: str,
    published: str,
    judged: Callable[[Interval | None], str],
    rule: str,
) -> Verdict:
    pair = differences[
        (differences["method"] == method)
        & (differences["against"] == against)
        & (differences["quantity"] == "best")
        & differences["task"].isin(tasks)
    ]
    found = {str(row["task"]): row for _, row in pair.iterrows()}
    intervals = {
        task: None if pd.isna(row["low"]) else Interval(row["difference"], row["low"], row["high"], row["detectable"])
        for task, row in found.items()
    }
    return Verdict(
        claim,
        published,
        _each(found, lambda row: f"{100 * row['difference']:+.1f}") + _lacking(found, tasks),
        _each(intervals, _points),
        _each(intervals, lambda i: NA if i is None else f"{100 * i.detectable:.1f}"),
        every({task: judged(interval) for task, interval in intervals.items()}, tasks),
        rule,
    )


def _lacking(found: Iterable[str], tasks: Sequence[str]) -> str:
    """Names the tasks that a claim is about and the study has no figure for."""
    lacking = [task_title(task) for task in tasks if task not in set(found)]
    return f" (without {', '.join(lacking)})" if lacking and len(lacking) < len(tasks) else ""


def _each(by_task: dict, show: Callable) -> str:
    return "; ".join(f"{task_title(task)} {show(value)}" for task, value in by_task.items()) or NA


def _points(interval: Interval | None) -> str:
    return NA if interval is None else f"[{100 * interval.low:+.1f}, {100 * interval.high:+.1f}]"


def _no_latency(files: Sequence[Path], margin: float) -> Verdict:
    compared = {
        (file.parent.name, file.stem): timing.against
        for file in files
        for timing in summarize(read_rows(file, LatencyRow), "pass", margin)
        if timing.method == OWN and timing.variant == "merged" and timing.against
    }
    answers = {"equivalent": REPRODUCED, "faster": REPRODUCED, "slower": REFUTED, "undecided": UNDECIDED}
    several = len({seed for _, seed in compared}) > 1
    shown = {f"{task_title(task)} {seed}" if several else task: found for (task, seed), found in compared.items()}
    tasks = {task for task, _ in compared}
    by_task = {
        task: every({seed: answers[f.verdict] for (t, seed), f in compared.items() if t == task},
                    [seed for t, seed in compared if t == task])
        for task in tasks
    }  # fmt: skip
    return Verdict(
        "merged LoRA adds no inference latency",
        "0",
        _each(shown, lambda found: f"{found.ratio:.3f}") + _lacking(tasks, PAPER_TASKS),
        _each(shown, lambda found: f"[{found.low:.3f}, {found.high:.3f}]"),
        _each(shown, lambda found: f"{found.detectable_percent:.1f}%"),
        every(by_task, PAPER_TASKS),
        f"on each of five tasks the 90% interval of merged / FFT over rounds is inside [1 / {1 + margin:g}, "
        f"{1 + margin:g}], or LoRA is faster (refuted where it is slower on one)",
    )


@dataclass(frozen=True)
class Changes:
    """A figure of LoRA against FFT's in percent: a row a seed and a column a task, and of the sums over tasks.

    `open` says why no verdict may be given on it, though there are figures; empty where one may.
    """

    by_seed: pd.DataFrame
    of_sums: float | None
    open: str


def changes(frame: pd.DataFrame, column: str, sign: int, tasks: Sequence[str] = PAPER_TASKS) -> Changes:
    """100 * (LoRA / FFT - 1) times `sign` (-1: a reduction), of the seeds that have both on every task found.

    Runs that shared their device are left out. Where the two methods were measured on several devices, a task is
    missing, its threshold means nothing, or a run never got there, the figures stand and decide nothing.
    """
    frame = frame[frame["method"].isin([OWN, FULL]) & frame["task"].isin(tasks)]
    frame = frame[frame["shared"].astype(str) != "True"]
    reasons = []
    if "threshold_meaningful" in frame and column in ("energy", "power"):
        vague = [str(t) for t, g in frame.groupby("task", sort=False) if not g["threshold_meaningful"].all()]
        frame = frame[~frame["task"].isin(vague)]
        censored = int((frame["reached"].astype(str) == "False").sum())
        if censored:
            reasons.append(f"{censored} of {len(frame)} runs never got there")
    frame = frame.dropna(subset=[column])
    wide = (
        frame.pivot_table(index="seed", columns=["task", "method"], values=column, sort=False) if len(frame) else None
    )
    found = [] if wide is None else [t for t in frame["task"].unique() if (t, OWN) in wide and (t, FULL) in wide]
    if wide is None or not found:
        return Changes(pd.DataFrame(), None, "")
    if frame["device"].nunique() > 1:
        reasons.append("measured on several devices")
    if lacking := [task_title(task) for task in tasks if task not in found]:
        reasons.append(f"without {', '.join(lacking)}")
    both = wide[[(t, m) for t in found for m in (OWN, FULL)]].dropna()
    by_seed = pd.DataFrame({t: sign * 100 * (both[t, OWN] / both[t, FULL] - 1) for t in found})
    own, full = (sum(float(both[t, method].mean()) for t in found) for method in (OWN, FULL))
    return Changes(by_seed, sign * 100 * (own / full - 1) if len(both) else None, "; ".join(reasons))


def _percent_verdict(
    claim: str, published: str, found: Changes, judged: Callable[[Interval | None], str], rule: str
) -> Verdict:
    """A claim about the mean over tasks of a percentage, with its interval over seeds."""
    if found.by_seed.empty:
        ours = NA if not found.open else f"{NA} ({found.open})"
        return Verdict(claim, published, ours, NA, NA, UNMEASURED, rule)
    per_seed = found.by_seed.mean(axis=1)
    interval = over_seeds(list(per_seed))
    parts = [_each(dict(found.by_seed.mean()), lambda value: f"{value:+.1f}%")]
    if len(found.by_seed.columns) > 1:
        parts.append(f"of the sums {found.of_sums:+.1f}%")
    return Verdict(
        claim,
        published,
        f"{per_seed.mean():+.1f}% ({'; '.join([*parts, found.open] if found.open else parts)})",
        NA if interval is None else f"[{interval.low:+.1f}, {interval.high:+.1f}]%",
        NA if interval is None else f"{interval.detectable:.1f}%",
        UNDECIDED if found.open else judged(interval),
        rule,
    )


def _memory(memory: pd.DataFrame) -> Verdict:
    return _percent_verdict(
        "LoRA takes 38% less GPU memory on average",
        "38.0% (of the sums 37.5%)",
        changes(memory[memory["kind"] == "device"], "mean_mb", -1),
        lambda i: within(i, MEMORY_PERCENT - MEMORY_TOLERANCE, MEMORY_PERCENT + MEMORY_TOLERANCE),
        f"the interval over seeds of the mean over five tasks of 1 - LoRA / FFT is inside {MEMORY_PERCENT:g} ± "
        f"{MEMORY_TOLERANCE:g}%; GPU memory alone is judged, a process's memory on a CPU is not",
    )


def _memory_and_length(memory: pd.DataFrame, run_files: Sequence[Path]) -> Verdict:
    claim, published = "longer sequences save less memory", "42.3% (CoLA) to 26.9% (STS-B)"
    rule = (
        "a claim about tasks, so seeds are no evidence for it: the Spearman correlation over five tasks of tokens per "
        "example with the mean over seeds of 1 - LoRA / FFT of GPU memory is below 0, and so low in fewer than 5% of "
        "the tasks' orders (refuted where it is above 0 in the same way)"
    )
    found = changes(memory[memory["kind"] == "device"], "mean_mb", -1)
    if found.by_seed.empty:
        return Verdict(claim, published, NA, NA, NA, UNMEASURED, rule)
    cards = [read_json(file)["run"]["data"] for file in run_files]
    lengths = {card["task"]: card["train"]["tokens"] / card["train"]["examples"] for card in cards}
    saved = found.by_seed.mean().round(1)  # tenths of a percent: less is no difference
    if saved.nunique() == 1:
        return Verdict(claim, published, "the same on every task", NA, NA, UNDECIDED, rule)
    order = pd.Series({task: lengths[task] for task in saved.index}).rank()
    correlations = [float(np.corrcoef(order, ranks)[0, 1]) for ranks in permutations(saved.rank())]
    ours = correlations[0]  # the order as it is comes first
    lower, upper = (float(np.mean([sign * c <= sign * ours + 1e-9 for c in correlations])) for sign in (1, -1))
    verdict = REPRODUCED if lower < 0.05 else REFUTED if upper < 0.05 else UNDECIDED
    least = 1 / len(correlations)
    text = f"correlation {ours:+.2f}" + (f" ({found.open})" if found.open else "")
    answer = UNDECIDED if found.open or least >= 0.05 else verdict
    return Verdict(claim, published, text, f"p = {min(lower, upper):.3f}", f"p = {least:.3f} at best", answer, rule)


def _faster_epochs(costs: pd.DataFrame) -> Verdict:
    return _percent_verdict(
        "a LoRA epoch is about 40% faster",
        "38.7% on average (26.7 to 45.0%)",
        changes(costs, "seconds_per_epoch", -1),
        lambda i: above(i, FASTER_PERCENT),
        "the interval over seeds of the mean over five tasks of 1 - LoRA / FFT of seconds per epoch is above "
        f"{FASTER_PERCENT:g}%",
    )


LEFT_OUT = (
    "runs that shared their device are left out, and tasks whose threshold means nothing; undecided where a run never "
    "got to the threshold"
)


def _energy(costs: pd.DataFrame) -> list[Verdict]:
    return [
        _percent_verdict(
            "LoRA needs more energy at equal accuracy, on average",
            "+77% (of the sums +41%)",
            changes(costs, "energy", +1),
            lambda i: above(i, 0.0),
            "the interval over seeds of the mean over five tasks of LoRA / FFT - 1 of the energy up to the threshold "
            f"is above 0; {LEFT_OUT}",
        ),
        _percent_verdict(
            "LoRA needs less energy than full fine-tuning on RTE",
            "33% less (37.8 against 56.5 kJ)",
            changes(costs, "energy", -1, ("rte",)),
            lambda i: above(i, 0.0),
            f"the interval over seeds of 1 - LoRA / FFT of the energy up to the threshold is above 0; {LEFT_OUT}",
        ),
    ]


def _power(costs: pd.DataFrame) -> Verdict:
    return _percent_verdict(
        "LoRA draws slightly more power",
        "+5.5% (325 to 335 against 291 to 328 W)",
        changes(costs, "power", +1),
        lambda i: above(i, 0.0),
        "the interval over seeds of the mean over five tasks of LoRA / FFT - 1 of the mean power up to the threshold "
        f"is above 0; {LEFT_OUT}",
    )


COLUMNS = {
    "claim": "claim",
    "published": "published",
    "ours": "this study",
    "interval": "95% interval",
    "detectable": "smallest effect found",
    "verdict": "verdict",
}


def write(verdicts: Sequence[Verdict], study: Study, stem: Path) -> None:
    """Write `stem`.md and .csv."""
    other = "" if study.comparable else " (other model or data)"
    rows = [vars(v) | {"verdict": v.verdict + (other if v.verdict != UNMEASURED else "")} for v in verdicts]
    with atomic_file(stem.with_suffix(".csv")) as temp_path:
        table = pd.DataFrame(rows, columns=[*COLUMNS, "rule"]).assign(remark=" ".join(study.banner()))
        table.to_csv(temp_path, index=False)
    judged = sum(v.verdict != UNMEASURED for v in verdicts)
    note = (
        f"{judged} of {len(verdicts)} claims were judged, each by itself. An interval is 95%: of twenty true "
        "comparisons one is expected to miss, and a claim about every task makes five. Latency has a 90% interval, as "
        f"its equivalence test has. Below {MIN_SEEDS} seeds nothing that varies over seeds is decided."
    )
    lines = ["# The paper's claims", "", *map(markdown_text, study.banner()), ""]
    lines += [f"| {' | '.join(COLUMNS.values())} |", "|" + " --- |" * len(COLUMNS)]
    lines += ["| " + " | ".join(markdown_text(row[name]) for name in COLUMNS) + " |" for row in rows]
    lines += ["", note, "", "## The rules", ""]
    lines += [f"- **{markdown_text(v.claim)}**: {markdown_text(v.rule)}." for v in verdicts]
    with atomic_file(stem.with_suffix(".md")) as temp_path:
        temp_path.write_text("\n".join(lines) + "\n", encoding="utf-8")
