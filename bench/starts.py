"""What a job pays before it works: a train job, a table job, and Snakemake on the paper's DAG."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.paired import Row, interleaved, ratio
from bench.place import Place
from lora_core.job import QUIET
from lora_core.provenance import ROOT
from lora_core.records import read_json, write_json

HEAVY = ("datasets", "pandas", "matplotlib", "sklearn", "torch")
LOADED = f"import sys; print([name for name in {HEAVY} if name in sys.modules])"


def command(words: Sequence[str]) -> tuple[float, str]:
    """Seconds of a command in the project's folder, and the last line it printed. Raises where it fails."""
    begun = time.perf_counter()
    done = subprocess.run(words, cwd=ROOT, env=os.environ | QUIET, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)[:200]} failed: {done.stderr[-2000:]}")
    return seconds, (done.stdout.strip().splitlines() or [""])[-1]


def python(code: str) -> tuple[float, str]:
    return command([sys.executable, "-c", code])


def train_job(place: Place) -> list[Row]:
    """A train job without its training and evaluation, against importing torch and building the same model."""
    spec = place.spec("cola", epochs=1)
    out, model, folder = (path.resolve() for path in (place.folder / "start", place.model(), place.data("cola", 64)))
    write_json(out / "spec.json", vars(spec))
    job = f"""
import json
from pathlib import Path
from lora_core.training.run import Spec, train
spec = Spec(**json.loads(Path({str(out / "spec.json")!r}).read_text()))
train(spec, Path({str(model)!r}), Path({str(folder)!r}), Path({str(out)!r}), {place.threads})
{LOADED}
"""
    loaded = []

    def ours() -> float:
        seconds, found = python(job)
        loaded.append(found)
        measured = read_json(out / "run.json")["measurement"]
        return seconds - measured["train_seconds"] - measured["eval_seconds"]

    bare = (
        "import torch; from transformers import AutoModelForSequenceClassification as Auto; "
        f"Auto.from_pretrained({str(model)!r}, num_labels=2, dtype=torch.float32)"
    )
    seconds = interleaved({"ours": ours, "bare": lambda: python(bare)[0]}, rounds=2 if place.quick else 5)
    row = ratio("train job outside training", "import torch, build the model", seconds["ours"], seconds["bare"],
                ("<=", 1.3), f"loads {loaded[-1]}")  # fmt: skip
    return [row]


def table_job(place: Place) -> list[Row]:
    """Table 4 from a run's record, its script's work whole, against `import pandas`."""
    record = place.folder / "start" / "run.json"
    out = place.folder / "start" / "table4"
    study = {
        "model": "MiniLM", "data": "CoLA", "protocol": "bench", "seeds": [1], "batching": "length-grouped",
        "simulated": False, "comparable": False,
    }  # fmt: skip
    job = f"""
from pathlib import Path
from lora_core.config.description import StudyDescription
from lora_core.reporting.inputs import DrawSettings
from lora_core.reporting.rendering import TableFiles, write_table
from lora_core.reporting.tables.memory import draw
table = draw({{"runs": [Path({str(record.resolve())!r})]}}, DrawSettings())
write_table(table, StudyDescription(**{study!r}), TableFiles.at(Path({str(out.resolve())!r})))
{LOADED}
"""
    loaded = python(job)[1]
    ways = {"ours": lambda: python(job)[0], "pandas": lambda: python("import pandas")[0]}
    seconds = interleaved(ways, rounds=2 if place.quick else 7)
    return [ratio("table job", "import pandas", seconds["ours"], seconds["pandas"], ("<=", 1.5), f"loads {loaded}")]


def snakemake(place: Place) -> list[Row]:
    """`snakemake -n` on the paper's study: 3 methods, 5 tasks, 5 seeds; and a run that finds all of it made."""
    base = [sys.executable, "-m", "snakemake"]
    new, made = (
        [*base, "--configfile", "config/paper.yaml", "--config", f"results_dir={json.dumps(str(place.folder / name))}"]
        for name in ("paper-new", "paper-made")
    )
    files = pretend(made)
    one = place.folder / "Snakefile"
    one.write_text("rule all:\n    output: 'never'\n    shell: 'touch never'\n", encoding="utf-8")
    ways = {
        "version": [*base, "--version"],
        "dry": [*new, "-n", "--quiet"],
        "nothing": [*made, "--cores", "1"],
        "one": [*base, "-n", "--quiet", "-s", str(one.resolve())],
    }
    calls = {name: partial(_seconds, words) for name, words in ways.items()}
    seconds = interleaved(calls, rounds=2 if place.quick else 7)

    def row(what: str, name: str, goal: tuple[str, float] | None = None) -> Row:
        return ratio(what, "snakemake --version", seconds[name], seconds["version"], goal)

    return [
        row("snakemake -n, the paper's DAG", "dry", ("<=", 1.6)),
        row(f"a run of it with nothing to do ({files} files there)", "nothing", ("<=", 1.6)),
        row("snakemake -n, one rule of three lines", "one"),
    ]


def _seconds(words: list[str]) -> float:
    return command(words)[0]


def pretend(study: list[str]) -> int:
    """Put an empty file where each output of a study belongs, all of one age; how many. Raises if one is left."""

    def snakemake(*words: str) -> str:
        done = subprocess.run([*study, *words], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout + done.stderr

    names = [line.split("\t")[0] for line in snakemake("--summary").splitlines() if "\t" in line][1:]
    now = time.time()
    for path in (Path(ROOT, name) for name in names):
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        else:
            path.mkdir(parents=True, exist_ok=True)
            (path / ".snakemake_timestamp").touch()
            os.utime(path / ".snakemake_timestamp", (now, now))
        os.utime(path, (now, now))
    if "Nothing to be done" not in snakemake("-n"):
        raise RuntimeError("Snakemake still finds work in a study whose files are all there")
    return len(names)
