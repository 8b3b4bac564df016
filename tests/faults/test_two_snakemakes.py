"""Work that goes on at the same time: two snakemakes in one folder, and measured jobs that no resource keeps apart."""

import os
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from builders import HANG_SECONDS, ROOT
from faults import STEPS
from project import TINY
from snakemake.utils import update_config

from lora_core.evaluation.disturbance import is_disturbed

RUN = "results/runs/{}/cola/seed1"
# Rules that say what they need anew, and leave out what the workflow asked for: the device above all.
MODULE = """
configfile: "mine.yaml"

module lora:
    snakefile: "{snakefile}"
    config: config

use rule * from lora

use rule train from lora with:
    resources: mem_mb=2000
"""


@pytest.mark.faults
def test_two_snakemakes_in_one_folder_both_run_where_their_files_do_not_overlap(project, finish):
    first = project.begin(f"step {STEPS + 2}", f"{RUN.format('lora')}/run.json")
    project.reached()
    status, output = project.run("results/tables/table7.md")
    assert (status, first.poll()) == (0, None), output  # drawn while the other one trains
    status, output = project.run(f"{RUN.format('lora')}/run.json")
    assert status != 0
    assert "Directory cannot be locked" in output
    project.marker.unlink()  # the first continues
    output, _ = first.communicate(timeout=HANG_SECONDS)
    assert first.returncode == 0, output
    finish()


@pytest.mark.faults
def test_measured_jobs_wait_for_each_other_although_a_module_dropped_their_resources(project):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    update_config(config, TINY | {name: project.study[name] for name in ("seeds", "train", "method_settings")})
    (project.folder / "mine.yaml").write_text(yaml.safe_dump(config | {name: TINY[name] for name in ("model", "data")}))
    (project.folder / "Snakefile").write_text(MODULE.format(snakefile=project.folder / "workflow/Snakefile"))
    runs = [project.folder / RUN.format(method) for method in TINY["methods"]]
    targets = [f"{RUN.format(method)}/run.json" for method in TINY["methods"]]
    status, output = project.run("--cores", "2", *targets, overlay="mine.yaml")
    assert status == 0, output
    logs = [path for path in (project.results / "logs").rglob("*") if path.is_file()]
    assert sum("waiting: another measured job is using" in path.read_text() for path in logs) == 1
    spans = sorted(measured_span(run) for run in runs)
    assert spans[0][1] <= spans[1][0], spans


def measured_span(run):
    """A time span in which a run was measured for certain: it ends with its record, and lasts as long as its epochs."""
    epochs = pd.read_csv(run / "history.csv")
    end = (run / "run.json").stat().st_mtime
    return end - (epochs["train_seconds"] + epochs["eval_seconds"]).sum(), end


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
