"""Batches that are computed in parts, compared with as many whole batches of that size, on the same examples."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bench.baselines import FULL, LORA, adapted
from bench.context import BenchContext
from bench.paired import Goal, Row, interleaved, ratio
from bench.steps import optimized
from lora_core.data.batches import Examples
from lora_core.methods.settings import MethodSettings
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.training_step import TrainingStep

SHAPES = [(16, 4, 32), (32, 8, 64), (16, 8, 96)]  # batch size, micro-batch size, tokens


def micro_batches(context: BenchContext) -> list[Row]:
    """Compare a step of k micro-batches with k steps of that size."""
    rows = []
    for settings in (FULL, LORA):
        for batch, micro, tokens in SHAPES[:1] if context.quick else SHAPES:
            calls = {
                "accumulated": _step(context, settings, tokens, [np.arange(batch)], micro),
                "separate": _step(context, settings, tokens, np.split(np.arange(batch), batch // micro), None),
            }
            seconds = interleaved(calls, context.rounds(20), warm_up=2)
            what = f"{settings.kind}: a batch of {batch // micro} micro-batches, {micro}×{tokens} tokens each"
            compared_with = f"{batch // micro} steps of that size"
            rows.append(ratio(what, compared_with, seconds["accumulated"], seconds["separate"], Goal("<=", 1.1)))
    return rows


def _step(
    context: BenchContext, settings: MethodSettings, tokens: int, order: list[np.ndarray], micro: int | None
) -> Callable[[], None]:
    """Return what trains a model of its own on the batches of an order."""
    spec = context.spec("stsb")
    spec = replace(spec, hyperparameters=replace(spec.hyperparameters, micro_batch_size=micro))
    model = optimized(adapted(context.model(), settings)).train()
    examples = sum(map(len, order))
    ids = np.random.default_rng(0).integers(1000, 30000, examples * tokens).astype(np.int32)
    labels = np.zeros(examples, np.float32)
    split = DeviceExamples(Examples(ids, None, np.arange(examples + 1) * tokens, labels), model)
    step = TrainingStep(spec, model, split, steps=10**6)
    batches = list(step.batches(order))

    def call() -> None:
        for batch in batches:
            step(batch)

    return call
