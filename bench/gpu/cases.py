"""What is measured, in the order of its importance, and the time that each part takes."""

from dataclasses import dataclass
from itertools import product
from typing import Literal

from bench.gpu.context import METHODS, PRECISIONS

Loop = Literal["graphs", "eager", "trainer", "compiled trainer"]
SAMPLE = 8000  # examples of SST-2 where a whole epoch would take minutes: 500 steps


@dataclass(frozen=True)
class Case:
    """One way to train on a task.

    Attributes:
        task: Whose lengths the examples have.
        method: A name in `METHODS`.
        precision: As in the configuration.
        loop: This project's with or without CUDA graphs; HF Trainer as it is by default, or with torch_compile, grouped
            lengths and fused AdamW.
        random_batches: The project's batches are drawn without regard to their lengths (HF Trainer's default).
        examples: How many of the training examples an epoch has; None is all of them.
        epochs: How many epochs the project trains. HF Trainer trains one, of which the second half is measured.
        estimate: About how many seconds the case takes on an H200, start and end of the run included.
    """

    task: str
    method: str
    precision: str
    loop: Loop
    random_batches: bool = False
    examples: int | None = None
    epochs: int = 2
    estimate: int = 20

    @property
    def is_trainer(self) -> bool:
        """Whether HF Trainer trains."""
        return self.loop in ("trainer", "compiled trainer")

    @property
    def name(self) -> str:
        """The case in words."""
        words = [self.task, self.method, self.precision, self.loop]
        return " ".join([*words, "random batches"] if self.random_batches else words)


@dataclass(frozen=True)
class Measurement:
    """How a case was trained; None for what was not measured.

    Attributes:
        epoch_seconds: The median epoch on all training examples; in proportion, if fewer were trained on.
        first_epoch_seconds: The first epoch, in the same way.
        epoch_joules: The energy of an epoch, in the same way.
        tokens_per_second: Without padding.
        used_mb: The peak of what tensors used.
        held_mb: The peak of what the allocator held.
        preparation_seconds: What came once before: kernels were loaded, graphs captured, the model compiled.
        steps: How many steps were measured.
        execution: What this project recorded: "graphs" or "eager".
    """

    epoch_seconds: float
    first_epoch_seconds: float | None
    epoch_joules: float | None
    tokens_per_second: float
    used_mb: float | None
    held_mb: float | None
    preparation_seconds: float | None
    steps: int
    execution: str | None


def first_cases(precision: str) -> list[Case]:
    """Return the cases that decide the goals."""
    return [
        Case("sst2", "lora", precision, "graphs", estimate=45),
        Case("sst2", "lora", precision, "trainer", examples=SAMPLE, estimate=40),
        Case("sst2", "full", precision, "graphs", estimate=70),
        Case("rte", "lora", precision, "graphs", epochs=6, estimate=25),
        Case("rte", "lora", precision, "trainer", estimate=20),
        Case("sst2", "lora", precision, "compiled trainer", examples=SAMPLE, estimate=90),
        Case("rte", "full", precision, "graphs", epochs=6, estimate=30),
        Case("rte", "lora", precision, "eager", random_batches=True, estimate=20),
        Case("rte", "full", precision, "eager", random_batches=True, estimate=20),
        Case("sst2", "lora", precision, "eager", examples=SAMPLE, epochs=1, estimate=30),
        Case("sst2", "full", precision, "eager", examples=SAMPLE, epochs=1, estimate=30),
        Case("sst2", "full", precision, "trainer", examples=SAMPLE, estimate=40),
        Case("rte", "full", precision, "trainer", estimate=20),
        Case("rte", "lora", precision, "compiled trainer", estimate=70),
    ]


def all_cases() -> list[Case]:
    """Return every case, the most important first."""
    cases = first_cases(PRECISIONS[0])
    loops: tuple[Loop, ...] = ("graphs", "eager", "trainer", "compiled trainer")
    for loop, task, precision, method in product(loops, ("sst2", "rte"), PRECISIONS, METHODS):
        examples = SAMPLE if task == "sst2" else None
        estimate = {"graphs": 20, "eager": 30, "trainer": 40, "compiled trainer": 90}[loop]
        case = Case(task, method, precision, loop, examples=examples, estimate=estimate)
        if case.name not in {known.name for known in cases}:
            cases.append(case)
    return cases


def smoke_cases() -> list[Case]:
    """Return few cases, which on a CPU run nearly all of the code; in fp32, for not all processors are fast in bf16."""
    return [
        Case("rte", "lora", "fp32", "graphs", epochs=3),
        Case("rte", "lora", "fp32", "trainer"),
        Case("rte", "lora", "fp32", "compiled trainer"),
    ]
