"""The time that a job needs before it works: a train job, a table job, and Snakemake on the paper's DAG."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bench.context import BenchContext
from bench.paired import Goal, Row, interleaved, ratio
from lora_core.commands.studies import read_study
from lora_core.config.description import StudyDescription
from lora_core.config.params import run_params
from lora_core.config.study import Study
from lora_core.data.batches import SPLITS
from lora_core.data.datasets import TokenizedFiles
from lora_core.evaluation.run_record import RunRecord
from lora_core.job import SILENCE_LIBRARIES
from lora_core.layout import Layout
from lora_core.provenance import ROOT
from lora_core.records import FORMAT, write_json
from lora_core.training.spec import RunSpec

SNAKEMAKE = [sys.executable, "-m", "snakemake"]
HEAVY = ("datasets", "pandas", "matplotlib", "sklearn", "torch")
PRINT_IMPORTS = f"import sys; print([name for name in {HEAVY} if name in sys.modules])"

# What workflow/scripts/train.py and render_table.py do, without Snakemake.
TRAIN = """
import json
from pathlib import Path
from lora_core.training.run import RunInputs, RunOutputs, train
from lora_core.training.spec import RunSpec

def paths(files):
    return {{name: Path(file) for name, file in files.items() if file}}

job = json.loads(Path({job!r}).read_text())
spec = RunSpec.from_params(job["run"])
train(spec, RunInputs(**paths(job["inputs"])), RunOutputs(**paths(job["outputs"])), job["threads"])
"""
DRAW_TABLE_4 = """
from pathlib import Path
from lora_core.config.description import StudyDescription
from lora_core.reporting import catalogue
from lora_core.reporting.inputs import DrawSettings, input_files
from lora_core.reporting.rendering import TableFiles, write_table

draw = catalogue.table("table4").function()
table = draw(input_files({{"runs": {record!r}}}), DrawSettings())
write_table(table, StudyDescription(**{study!r}), TableFiles.at(Path({stem!r})))
"""
DESCRIPTION = StudyDescription(
    model="MiniLM", data="CoLA", protocol="bench", seeds=[1], batching="random", simulated=False, differences=[]
)


def run_command(command: Sequence[str]) -> tuple[float, str]:
    """Run a command in the project's folder; return its seconds and the last line that it printed.

    Raise RuntimeError if it fails.
    """
    started = time.perf_counter()
    result = subprocess.run(
        command, cwd=ROOT, env=os.environ | SILENCE_LIBRARIES, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} failed: {result.stderr[-2000:]}")
    return seconds, (result.stdout.strip().splitlines() or [""])[-1]


def run_python(code: str) -> tuple[float, str]:
    """Run Python code in a process of its own; return its seconds and the last line that it printed."""
    return run_command([sys.executable, "-c", code])


def command_seconds(command: Sequence[str]) -> float:
    """Return the seconds of a command."""
    return run_command(command)[0]


def python_seconds(code: str) -> float:
    """Return the seconds of Python code in a process of its own."""
    return run_python(code)[0]


def training_code(context: BenchContext, spec: RunSpec, data: TokenizedFiles, out: Path) -> str:
    """Return Python code that trains in a process of its own, and writes the run's files in the folder `out`."""
    inputs, outputs = (
        {name: str(file.resolve()) for name, file in vars(files).items() if file is not None}
        for files in context.run_files(data, out)
    )
    job = (out / "job.json").resolve()
    write_json(job, {"run": spec.to_params(), "inputs": inputs, "outputs": outputs, "threads": context.threads})
    return TRAIN.format(job=str(job))


def train_job(context: BenchContext) -> list[Row]:
    """Compare a train job without its training and evaluation with importing torch and building the same model."""
    out, data = context.folder / "start", context.data("cola", 64)
    code = training_code(context, context.spec("cola", epochs=1), data, out) + PRINT_IMPORTS
    imports = []

    def project() -> float:
        seconds, line = run_python(code)
        imports.append(line)
        run = RunRecord.read(out / "run.json")
        return seconds - run.train_seconds - run.eval_seconds

    build_model = (
        "import torch; from transformers import AutoModelForSequenceClassification as Auto; "
        f"Auto.from_pretrained({str(context.model().resolve())!r}, num_labels=2, dtype=torch.float32)"
    )
    variants: dict[str, Callable[[], float]] = {"project": project, "build": partial(python_seconds, build_model)}
    seconds = interleaved(variants, context.rounds(5))
    return [
        ratio("train job outside training", "import torch, build the model", seconds["project"], seconds["build"],
              Goal("<=", 1.3), f"imports {imports[-1]}")
    ]  # fmt: skip


def table_job(context: BenchContext) -> list[Row]:
    """Compare drawing table 4 from a run's record with `import pandas`."""
    folder = (context.folder / "start").resolve()
    record = folder / "run.json"
    if not record.exists():
        run_python(training_code(context, context.spec("cola", epochs=1), context.data("cola", 64), folder))
    code = DRAW_TABLE_4.format(record=str(record), study=asdict(DESCRIPTION), stem=str(folder / "table4"))
    code += PRINT_IMPORTS
    imports = run_python(code)[1]
    variants = {"project": partial(python_seconds, code), "pandas": partial(python_seconds, "import pandas")}
    seconds = interleaved(variants, context.rounds(7))
    return [
        ratio("table job", "import pandas", seconds["project"], seconds["pandas"], Goal("<=", 1.5),
              f"imports {imports}")
    ]  # fmt: skip


def snakemake(context: BenchContext) -> list[Row]:
    """Compare Snakemake on the paper's study (3 methods, 5 tasks, 5 seeds) with `snakemake --version`.

    Timed are `-n` on a study without results, and a run that finds that every file exists.
    """
    new, finished = (_paper_study(context.folder / name) for name in ("paper-new", "paper-finished"))
    files = create_outputs(finished)
    short = context.folder / "Snakefile"
    short.write_text("rule all:\n    output: 'never'\n    shell: 'touch never'\n", encoding="utf-8")
    commands = {
        "version": [*SNAKEMAKE, "--version"],
        "snakemake -n, the paper's DAG": [*new, "-n", "--quiet"],
        f"snakemake with nothing to do ({files} existing files)": [*finished, "--cores", "1"],
        "snakemake -n, one rule of three lines": [*SNAKEMAKE, "-n", "--quiet", "-s", str(short.resolve())],
    }
    variants = {name: partial(command_seconds, command) for name, command in commands.items()}
    seconds = interleaved(variants, context.rounds(7))
    version = seconds.pop("version")
    goals = (Goal("<=", 1.6), Goal("<=", 1.6), None)
    return [
        ratio(what, "snakemake --version", measured, version, goal)
        for (what, measured), goal in zip(seconds.items(), goals, strict=True)
    ]


def _paper_study(results: Path) -> list[str]:
    """The command of Snakemake on the paper's study with results in this folder."""
    results_dir = json.dumps(str(results))
    return [*SNAKEMAKE, "--configfile", "config/paper.yaml", "--config", f"results_dir={results_dir}"]


def create_outputs(study: list[str]) -> int:
    """Create a file for each output of the paper's study, all of one age, and return their number.

    `study` is a command of Snakemake. Raise RuntimeError if Snakemake still finds work afterwards.
    """
    settings = read_study(["config/paper.yaml"])

    def output_of(*arguments: str) -> str:
        result = subprocess.run([*study, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
        return result.stdout + result.stderr

    names = [line.split("\t")[0] for line in output_of("--summary").splitlines() if "\t" in line][1:]
    now = time.time()
    for path in (Path(ROOT, name) for name in names):
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_content(path, settings), encoding="utf-8")
        else:
            path.mkdir(parents=True, exist_ok=True)
            (path / ".snakemake_timestamp").touch()
            os.utime(path / ".snakemake_timestamp", (now, now))
        os.utime(path, (now, now))
    output_of("--touch", "--cores", "1")  # so that Snakemake has a record of each
    if "Nothing to be done" not in output_of("-n"):
        raise RuntimeError("Snakemake still finds work in a study whose output files all exist")
    return len(names)


def _content(path: Path, study: Study) -> str:
    """What an output holds: the records of data and runs are read at each start; of others only the size counts."""
    card = {split: {"sha256": "0"} for split in SPLITS}
    if path.name == Path(Layout.data_card).name:
        return json.dumps(card)
    if path.name != Path(Layout.run_record).name:
        return "\n"
    method, task, seed = path.parent.parts[-3:]
    run = run_params(study, method, task, int(seed.removeprefix("seed")))
    return json.dumps({"format": FORMAT, "run": run | {"data": card}, "provenance": {}, "files": {}})
