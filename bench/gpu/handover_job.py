"""One of two train jobs: `python -m bench.gpu.handover_job FILE` prints when its first step that counts began.

That is after the preparation. When the last one had ended comes second, both by a clock that all processes share.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from lora_core.measuring.exclusive import starting


def main() -> None:
    """Do the job that the file describes."""
    print(json.dumps(train_job(Path(sys.argv[1]))))


def train_job(file: Path) -> list[float]:
    """Train as the rule's script does; return when the first step that counts began and when the last one had ended."""
    job = json.loads(file.read_text(encoding="utf-8"))
    with starting(job["run"]["device"]):
        from unittest.mock import patch

        from lora_core import device
        from lora_core.training.loop import TrainingLoop
        from lora_core.training.run import RunInputs, RunOutputs, train
        from lora_core.training.spec import RunSpec

        times: list[float] = []
        plain = TrainingLoop._train_epoch

        def train_epoch(self: TrainingLoop, *arguments: Any) -> Any:
            times.append(time.monotonic())
            trained = plain(self, *arguments)
            device.synchronize(self._device)
            times.append(time.monotonic())
            return trained

        inputs, outputs = ({name: Path(path) for name, path in job[key].items()} for key in ("inputs", "outputs"))
        with patch.object(TrainingLoop, "_train_epoch", train_epoch):
            train(RunSpec.from_params(job["run"]), RunInputs(**inputs), RunOutputs(**outputs), job["threads"])
    return [times[0], times[-1]]


if __name__ == "__main__":
    main()
