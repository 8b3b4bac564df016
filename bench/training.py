"""Training: padding, and an epoch compared with HF Trainer + PEFT."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np

from bench import baselines
from bench.context import PRECISIONS, BenchContext, Precision
from bench.paired import Goal, Row, interleaved, ratio
from lora_core.data import batches

EXAMPLES = 1024


def padding(context: BenchContext) -> list[Row]:
    """Compare an epoch's tokens with and without padding."""
    rows = []
    for task in ("cola", "rte", "stsb"):
        lengths = batches.load(context.data(task).train).lengths
        for size in (16, 32):
            first, second = (batches.order(lengths, size, "length_grouped", seed) for seed in (1, 2))
            repeated = {tuple(sorted(batch)) for batch in first} & {tuple(sorted(batch)) for batch in second}
            random = _share_of_real_tokens(lengths, batches.order(lengths, size, "random", 1))
            details = (
                f"random batches: {random:.3f}; {len(repeated)} of {len(first)} batches are the same in the second "
                "epoch"
            )
            what = f"real / computed tokens, {task}, batch {size}"
            rows.append(Row(what, "", _share_of_real_tokens(lengths, first), Goal(">=", 0.97), details=details))
    return rows


def _share_of_real_tokens(lengths: np.ndarray, order: list[np.ndarray]) -> float:
    return float(lengths.sum() / sum(len(batch) * lengths[batch].max() for batch in order))


def epoch(context: BenchContext) -> list[Row]:
    """Compare an epoch of LoRA on STS-B, `train_seconds` of its record, with `Trainer.train()`.

    HF Trainer's time includes the construction of its optimizer and its sampler: milliseconds of many seconds.
    """
    seconds = interleaved(_epoch_variants(context), rounds=2 if context.quick else 3, warm_up=0)

    def row(precision: str, baseline: str, sampling: str, bound: float) -> Row:
        """A row that compares LoRA in one precision with HF Trainer in another ("random fp32")."""
        project, other = seconds[f"project {precision}"], seconds[sampling]
        details = f"{median(other):.1f} / {median(project):.1f} s"
        return ratio(f"LoRA epoch, STS-B, {precision}", baseline, other, project, Goal(">=", bound), details)

    random, grouped = "HF Trainer + PEFT", "HF Trainer + PEFT, grouped by length"
    return [
        *(row(precision, f"{random}, {precision}", f"random {precision}", 2.0) for precision in PRECISIONS),
        row("bf16", f"{random}, fp32", "random fp32", 3.0),
        *(row(precision, f"{grouped}, {precision}", f"group_by_length {precision}", 1.2) for precision in PRECISIONS),
    ]


def _epoch_variants(context: BenchContext) -> dict[str, Callable[[], float]]:
    data, out = context.data("stsb", EXAMPLES), context.folder / "epoch"

    def project(precision: Precision) -> float:
        spec = replace(context.spec("stsb", epochs=1), precision=precision, batching="length_grouped")
        return context.train(spec, data, out / "project").train_seconds

    def hf_trainer(sampling: str, precision: str) -> float:
        hyperparameters = context.spec("stsb").hyperparameters
        return baselines.train_seconds(
            baselines.hf_trainer(
                context.model(), data, hyperparameters, out, baselines.TrainerOptions(sampling, precision)
            )
        )

    variants: dict[str, Callable[[], float]] = {}
    for precision in PRECISIONS:
        variants[f"project {precision}"] = partial(project, precision)
        for sampling in ("random", "group_by_length"):
            variants[f"{sampling} {precision}"] = partial(hf_trainer, sampling, precision)
    return variants
