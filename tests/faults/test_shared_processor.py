"""Work that goes on at the same time on a processor: the measured run is marked."""

import os
import subprocess
import sys

import pandas as pd
import pytest
from builders import HANG_SECONDS, ROOT

from lora_core.evaluation.disturbance import is_disturbed

TRAIN = """
import os, sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.sched_setaffinity(0, {int(sys.argv[1])})
from builders import LORA, tokenized, trained

model, folder = map(Path, sys.argv[2:])
data = tokenized(model, folder / "data", "cola", train=400)
trained(LORA, model, data, folder / "run", hyperparameters={"epochs": 3, "batch_size": 1})
"""
WORK = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


@pytest.mark.faults
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processors cannot be chosen here")
def test_a_run_beside_other_work_on_its_processor_is_marked_as_disturbed(bert, tmp_path):
    processor = str(min(os.sched_getaffinity(0)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    others = [subprocess.Popen([sys.executable, "-c", WORK, processor]) for _ in range(2)]
    try:
        command = [sys.executable, "-c", TRAIN, processor, bert, tmp_path]
        subprocess.run(command, check=True, env=environment, timeout=HANG_SECONDS)
    finally:
        for other in others:
            other.kill()
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["train_seconds"].min() > 0.5  # long enough to be judged
    assert is_disturbed(history, True, [history]) is True
