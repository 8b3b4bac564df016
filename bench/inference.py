"""Inference: merged LoRA compared with full fine-tuning, and an evaluation pass compared with `Trainer.evaluate`."""

import time

from torch import nn

from bench.baselines import LORA, TrainerOptions, adapted, hf_trainer, load_model
from bench.context import BenchContext
from bench.paired import Goal, Row, interleaved, ratio
from lora_core.data import batches
from lora_core.methods.layers import LoRALinear, merge
from lora_core.training.device_batches import DeviceExamples
from lora_core.training.steps import predict_logits

BATCH_SIZE = 32
DEFAULT_BATCH_SIZE = 8  # of transformers' `per_device_eval_batch_size`


def merged(context: BenchContext) -> list[Row]:
    """Compare a pass over a validation set by a model with merged LoRA with one by the unchanged model."""
    unchanged = load_model(context.model())
    lora = adapted(context.model(), LORA)
    for module in lora.modules():
        if isinstance(module, LoRALinear):
            nn.init.normal_(module.lora_B, std=0.02)
    merge(lora)
    examples = batches.load(context.data("stsb").validation)
    variants = {
        "merged": lambda: predict_logits(lora, DeviceExamples(examples, lora), "fp32", BATCH_SIZE),
        "full": lambda: predict_logits(unchanged, DeviceExamples(examples, unchanged), "fp32", BATCH_SIZE),
    }
    seconds = interleaved(variants, context.rounds(20))
    what = "merged LoRA, a pass over STS-B's validation set"
    return [ratio(what, "FFT", seconds["merged"], seconds["full"], Goal("+-", 0.02))]


def evaluation(context: BenchContext) -> list[Row]:
    """Compare an evaluation pass of a LoRA model with `Trainer.evaluate`, at its default batch size and at ours."""
    data, spec = context.data("stsb"), context.spec("stsb")
    examples, size = batches.load(data.validation), spec.evaluation_batch_size
    model = adapted(context.model(), LORA)
    out = context.folder / "evaluate"
    trainer = hf_trainer(context.model(), data, spec.hyperparameters, out, TrainerOptions())

    def evaluate_seconds(batch_size: int) -> float:
        trainer.args.per_device_eval_batch_size = batch_size
        started = time.perf_counter()
        trainer.evaluate()
        return time.perf_counter() - started

    variants = {
        "project": lambda: predict_logits(model, DeviceExamples(examples, model), "fp32", size),
        "default": lambda: evaluate_seconds(DEFAULT_BATCH_SIZE),
        "same size": lambda: evaluate_seconds(size),
    }
    seconds = interleaved(variants, context.rounds(5))
    baselines = {
        "default": f"HF Trainer.evaluate, its default batch of {DEFAULT_BATCH_SIZE}",
        "same size": f"HF Trainer.evaluate, also with batches of {size}",
    }
    return [
        ratio("evaluation pass, STS-B", baseline, seconds[name], seconds["project"], Goal(">=", 2.0))
        for name, baseline in baselines.items()
    ]
