"""What the benchmarks run on: the embedded study's model, and GLUE from a folder or, without one, mini-GLUE."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from lora_core.commands.studies import read_study
from lora_core.config.params import model_params, run_params
from lora_core.config.study import Study
from lora_core.data.datasets import TokenizedFiles, tokenize_task
from lora_core.data.source import DatasetSource
from lora_core.evaluation.run_record import RunRecord
from lora_core.measuring.meters import MeterSettings
from lora_core.models.pretrained import prepare_model
from lora_core.training.inputs import RunInputs
from lora_core.training.outputs import RunOutputs
from lora_core.training.run import train
from lora_core.training.spec import RunSpec

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
MAX_TOKENS = 128
QUICK_EXAMPLES = 48
NO_METER = MeterSettings(meter="none", sample_seconds=0.5, idle_seconds=0.0)


@dataclass(frozen=True)
class BenchContext:
    """What all benchmarks share.

    Attributes:
        folder: Where prepared models, tokenized data and runs are kept.
        glue: A folder in the layout of the hub's GLUE; None takes mini-GLUE.
        threads: The number of threads that torch uses.
        quick: Run the smallest size only, which measures nothing.
    """

    folder: Path
    glue: Path | None
    threads: int
    quick: bool = False

    @cached_property
    def study(self) -> Study:
        """The study on real GLUE, whose hyperparameters the benchmarks use."""
        return read_study(["config/glue-local.yaml"])

    def rounds(self, number: int) -> int:
        """Return how often to repeat a measurement: `number` times, or twice in a quick run."""
        return 2 if self.quick else number

    def model(self) -> Path:
        """Return the folder of the prepared model, which the first call prepares."""
        folder = self.folder / "models" / self.study.model.name
        if not (folder / "config.json").exists():
            prepare_model(model_params(self.study), folder)
        return folder

    def data(self, task: str, max_train_examples: int | None = None) -> TokenizedFiles:
        """Return a task's tokenized files, which the first call writes; without a limit, with all examples."""
        limit = QUICK_EXAMPLES if self.quick else max_train_examples
        source = "mini" if self.glue is None else "glue"
        files = TokenizedFiles.in_folder(self.folder / "data" / f"{source}-{task}-{limit or 'all'}")
        if not files.card.exists():
            tokenize_task(self._source(limit), self.study.task(task), self.model(), MAX_TOKENS, files)
        return files

    def _source(self, max_train_examples: int | None) -> DatasetSource:
        source = DatasetSource("mini", seed=0) if self.glue is None else DatasetSource("local", path=str(self.glue))
        return replace(
            source,
            max_train_examples=max_train_examples,
            max_validation_examples=QUICK_EXAMPLES if self.quick else None,
        )

    def spec(self, task: str, seed: int = 1, epochs: int | None = None) -> RunSpec:
        """Return a LoRA run of the study on real GLUE, on the CPU and without a meter."""
        spec = RunSpec.from_params(run_params(self.study, "lora", task, seed))
        epochs = 1 if self.quick else epochs or spec.hyperparameters.epochs
        hyperparameters = replace(spec.hyperparameters, epochs=epochs)
        return replace(spec, hyperparameters=hyperparameters, device="cpu", measure=NO_METER)

    def run_files(self, data: TokenizedFiles, out: Path) -> tuple[RunInputs, RunOutputs]:
        """Return the files that a run on `data` reads, and those that it writes in the folder `out`."""
        inputs = RunInputs(self.model(), data.train, data.validation, data.card)
        outputs = RunOutputs(
            record=out / "run.json",
            history=out / "history.csv",
            power=out / "power.csv",
            predictions=out / "predictions.safetensors",
            weights=out / "weights",
            progress=out / "progress.json",
            lock=out / ".lock",
        )
        return inputs, outputs

    def train(self, spec: RunSpec, data: TokenizedFiles, out: Path) -> RunRecord:
        """Train, write the run's files in the folder `out`, and return its record."""
        inputs, outputs = self.run_files(data, out)
        train(spec, inputs, outputs, self.threads)
        return RunRecord.read(outputs.record)
