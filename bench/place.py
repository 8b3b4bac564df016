"""What a benchmark runs on: the embedded study's model, and GLUE from a folder or, without one, mini-GLUE."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_core.config.study import Study, read_files
from lora_core.data.datasets import tokenize_task
from lora_core.data.tasks import TASKS
from lora_core.models.pretrained import prepare
from lora_core.training.run import Spec

PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class Place:
    """`folder` keeps what is made; `quick` asks for the smallest size that still runs everything."""

    folder: Path
    glue: Path | None
    threads: int
    quick: bool = False

    @property
    def study(self) -> Study:
        return read_files("config/glue-local.yaml")

    def model(self) -> Path:
        """The embedded study's model, prepared."""
        source = self.study.model
        out = self.folder / "models" / source.name
        if not (out / "config.json").exists():
            prepare(source.model_dump(mode="json"), out)
        return out

    def data(self, task: str, examples: int | None = None) -> Path:
        """A task's tokenised splits, with at most so many training examples (None: all there are)."""
        cap = 48 if self.quick else examples
        out = self.folder / "data" / f"{'mini' if self.glue is None else 'glue'}-{task}-{cap or 'all'}"
        if not (out / "card.json").exists():
            row = TASKS[task]
            source: dict[str, Any] = {"source": "mini", "seed": 0} if self.glue is None else {"source": "local"}
            source |= {"max_train_examples": cap, "max_validation_examples": 48 if self.quick else None}
            if self.glue is not None:
                source["path"] = str(self.glue)
            tokenize_task(source, task, metrics=row.metrics, model=self.model(), max_length=128, out=out, **row.layout)
        return out

    def spec(self, task: str, seed: int = 1, method: str = "lora", **changes: Any) -> Spec:
        """A run as the study on real GLUE has it, without a meter; `changes` to its fields or hyperparameters."""
        study = self.study
        hyper = study.hyperparameters(method, task)
        hyper |= {name: changes.pop(name) for name in list(changes) if name in hyper}
        if self.quick:
            hyper["epochs"] = 1
        fields: dict[str, Any] = {
            "method": method, "task": task, "seed": seed, "settings": study.settings(method), "hyperparameters": hyper,
            **study.train.of_a_run, "device": "cpu", "meter": "none", "simulated": False,
            "sample_seconds": 0.5, "idle_seconds": 0.0, "base_model": study.model.name,
        }  # fmt: skip
        return Spec(**(fields | changes))
