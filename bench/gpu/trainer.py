"""A case trained by HF Trainer + PEFT, of which the second half is measured: what happens once lies in the first."""

import math
import time
from contextlib import ExitStack
from typing import Any

import torch

from bench.baselines import TrainerOptions, hf_trainer
from bench.gpu.cases import Case, Measurement
from bench.gpu.context import BATCH_SIZES, METER, GpuContext
from lora_core import device as devices
from lora_core.measuring import power_trace
from lora_core.measuring.exclusive import ExclusiveDevice, exclusive_device
from lora_core.measuring.sampler import Sampler
from lora_core.precision import allow_tf32
from lora_core.records import PowerRow


class SecondHalf(ExitStack):
    """Measures the second half of a training as one window. `trainer_callback` tells when it begins and ends.

    Attributes:
        first_seconds: How long the first half took.
        seconds: How long the second half took.
        steps: Its steps.
        window: Its samples.
    """

    def __init__(self, sampler: Sampler, device: torch.device) -> None:
        super().__init__()
        self.first_seconds = self.seconds = 0.0
        self.steps = 0
        self.window: list[PowerRow] = []
        self._sampler = sampler
        self._device = device
        self._started = 0.0

    def begin(self) -> None:
        """Begin with the first half."""
        devices.synchronize(self._device)
        self._started = time.perf_counter()

    def halve(self, steps: int) -> None:
        """Begin with the second half, of this many steps."""
        devices.synchronize(self._device)
        self.steps = steps
        self.window = self.enter_context(self._sampler.window("train"))
        self.first_seconds, self._started = time.perf_counter() - self._started, time.perf_counter()

    def end(self) -> None:
        """End the second half."""
        devices.synchronize(self._device)
        self.seconds = time.perf_counter() - self._started
        self.close()

    def trainer_callback(self) -> Any:
        """Return a callback of HF Trainer."""
        from transformers import TrainerCallback

        half = self

        class Callback(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
                half.begin()

            def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
                if state.global_step == state.max_steps // 2:
                    half.halve(state.max_steps - state.global_step)
                elif state.global_step == state.max_steps:
                    half.end()

        return Callback()


def measure_trainer(case: Case, context: GpuContext) -> Measurement:
    """Train for an epoch; the time and the energy of a whole one follow from its second half.

    Raise ValueError if the case cannot be measured in a quick run.
    """
    if case.loop == "compiled trainer" and context.quick:
        raise ValueError("compiling takes too long for a smoke run")
    with (
        exclusive_device(context.device, METER.meter) as held,
        Sampler(held.meter, devices.label(held.device), METER.sample_seconds) as sampler,
    ):
        if held.device.type == "cuda":
            sampler.measure_idle(METER.idle_seconds)
        with SecondHalf(sampler, held.device) as half:
            _train(case, context, held, half)
        return _measurement(case, context, held, half, sampler)


def _train(case: Case, context: GpuContext, held: ExclusiveDevice, half: SecondHalf) -> None:
    is_best = case.loop == "compiled trainer"
    options = TrainerOptions(
        sampling="group_by_length" if is_best else "random",
        precision=case.precision,
        peft=case.method == "lora",
        compiled=is_best,
        device=held.device,
    )
    hyperparameters = context.gpu_spec(case.task, case.method, case.precision).hyperparameters
    data = context.data(case.task, case.examples)
    trainer = hf_trainer(context.model(), data, hyperparameters, context.folder / "trainer", options)
    trainer.add_callback(half.trainer_callback())
    allow_tf32(case.precision == "tf32")  # the Trainer sets TF32 at most once in a process
    devices.reset_peak_memory(held.device)
    trainer.train()
    if is_best:
        torch.compiler.reset()


def _measurement(
    case: Case, context: GpuContext, held: ExclusiveDevice, half: SecondHalf, sampler: Sampler
) -> Measurement:
    lengths = context.lengths(case.task)
    scale = math.ceil(len(lengths) / BATCH_SIZES[case.task]) / half.steps
    source = power_trace.energy_source(half.window)
    joules = power_trace.energy_joules([half.window], source, held.meter.limits, sampler.counter_tick_seconds)
    used, held_mb = devices.peak_memory_mb(held.device)
    return Measurement(
        epoch_seconds=half.seconds * scale,
        first_epoch_seconds=None,
        epoch_joules=None if joules is None else joules * scale,
        tokens_per_second=float(lengths.sum()) / (half.seconds * scale),
        used_mb=used,
        held_mb=held_mb,
        preparation_seconds=max(0.0, half.first_seconds - half.seconds),
        steps=half.steps,
        execution=None,
    )
