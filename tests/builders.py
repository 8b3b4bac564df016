"""What the tests build from: small models, tokenized data, finished runs, and records of runs that never happened."""

import copy
import csv
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from lora_core.evaluation.references import References
from lora_core.evaluation.run_record import RunRecord
from lora_core.job import SILENCE_LIBRARIES
from lora_core.records import MEASURED, LatencyRow, PowerRow, read_json, read_run_record, write_json, write_rows
from lora_core.sealed import SEAL, seal

os.environ.update(SILENCE_LIBRARIES)
os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).resolve().parent.parent
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
    "vocab_size": 300,
}
BERT = SHAPE | {"model_type": "bert"}
ROBERTA = SHAPE | {"model_type": "roberta", "pad_token_id": 1, "type_vocab_size": 1}
LOW_RANK = {"rank": 4, "alpha": 8.0, "targets": ["query", "value"]}
LORA = {"kind": "lora", "freeze_a": False} | LOW_RANK
LORALIB = {"kind": "loralib"} | LOW_RANK
FULL = {"kind": "full"}
LABELS = ["unacceptable", "acceptable"]  # CoLA's classes
TARGETS = np.array([0, 1])  # two training labels, for a head that needs some
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
# Seconds after which a process of a test counts as hanging: ten times what the slowest takes; a machine may be busy.
HANG_SECONDS = 3000
# What tests/faults counts; printed at the end of a test session.
FAULTS = {"tried": 0, "lost": 0, "wrong": 0}


def without_measured(record: dict) -> dict:
    """A record, or a row, without the fields that differ from one execution to the next."""
    return {name: value for name, value in record.items() if name not in MEASURED}


def unmeasured_rows(file: Path) -> list[dict]:
    """The rows of a CSV file, what is measured left out."""
    with file.open(newline="", encoding="utf-8") as stream:
        return [without_measured(row) for row in csv.DictReader(stream)]


def encoder(name: str) -> dict:
    """A tiny configuration of an architecture that transformers classifies texts with."""
    return {"model_type": name} | read_json(ROOT / "tests" / "fixtures" / "encoders.json")[name]


def prepared(folder: Path, config: dict) -> Path:
    from lora_core.models.pretrained import prepare_model

    prepare_model({"source": "random", "config": config, "seed": 7}, folder)
    return folder


def tokenized(model: Path, out: Path, name: str, train: int = 64, validation: int = 40) -> Path:
    from lora_core.data.datasets import TokenizedFiles, tokenize_task
    from lora_core.data.source import DatasetSource
    from lora_core.data.tasks import TASKS

    source = DatasetSource("mini", seed=0, max_train_examples=train, max_validation_examples=validation)
    tokenize_task(source, TASKS[name], model, 128, TokenizedFiles.in_folder(out))
    return out


def own_task(folder: Path, train: int = 64, validation: int = 40, test: int = 30):
    """A task of one's own with three files, which hold mini-CoLA's sentences: its source, and the task."""
    from lora_core.data.mini_glue import generate
    from lora_core.data.source import DatasetSource
    from lora_core.data.task import Task

    folder.mkdir(parents=True, exist_ok=True)
    rows = {split: list(zip(*(generate("cola", split)[n] for n in ("sentence", "label")), strict=True)) for split in
            ("train", "validation")}  # fmt: skip
    splits = {
        "train": rows["train"][:train],
        "validation": rows["validation"][:validation],
        "test": rows["validation"][validation : validation + test],
    }
    for split, examples in splits.items():
        frame = pd.DataFrame(examples, columns=["text", "label"])
        frame.assign(label=frame["label"].map({0: "no", 1: "yes"})).to_csv(folder / f"{split}.csv", index=False)
    source = DatasetSource("user", path=str(folder), test="test")
    return source, Task("own", "own", ("text",), ("no", "yes"), ("accuracy", "matthews"))


# What tokenizers differ in: capitals, spaces, forms of characters, accents, numbers, and unknown characters.
TOKENIZER_TEXTS = [
    "a dog", "A Dog and THE cat.", "  the  dog ", "\ufb01lm \u2460", "no\u00a0break\tnew\nline",
    "caf\u00e9 cafe\u0301", "it's 1,000 people, isn't it?", "\u65e5\u672c\u8a9e",
]  # fmt: skip


def prepared_from_local(source, out):
    from lora_core.models.pretrained import prepare_model

    prepare_model({"source": "local", "path": str(source)}, out)
    return out


def data_ids(model, max_length=128):
    """The ids that data/ has for TOKENIZER_TEXTS, each paired with the next."""
    from lora_core.data.datasets import tokenize
    from lora_core.data.tasks import TASKS

    texts = TOKENIZER_TEXTS
    columns = {"sentence1": texts, "sentence2": texts[1:] + texts[:1], "label": [0] * len(texts)}
    examples = tokenize(columns, TASKS["rte"], model, max_length).examples
    return [examples.tokens[a:b].tolist() for a, b in zip(examples.offsets, examples.offsets[1:], strict=False)]


def auto_ids(folder, **options):
    """The ids that AutoTokenizer gives for the same."""
    from transformers import AutoTokenizer

    texts = TOKENIZER_TEXTS
    return AutoTokenizer.from_pretrained(folder)(texts, texts[1:] + texts[:1], **options)["input_ids"]


def spec(settings, **changes):
    """A run of two epochs on CoLA by a method's settings (an object, or params as in LORA).

    `hyperparameters` are merged into the default ones, `meter`, `sample_seconds` and `idle_seconds` into the settings
    of the meter.
    """
    from lora_core.measuring.meters import MeterSettings
    from lora_core.methods.registry import settings_from_params
    from lora_core.training.spec import Hyperparameters, RunSpec

    if isinstance(settings, dict):
        settings = settings_from_params(settings)
    hyperparameters = {
        "optimizer": "adamw", "schedule": "linear", "batch_size": 8, "epochs": 2, "learning_rate": 1e-3,
        "weight_decay": 0.01, "warmup_ratio": 0.1, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8,
        "max_grad_norm": 1.0, "dropout": None, "head_bias": "zero", "loraplus_lr_ratio": 1.0,
        "gradient_checkpointing": False,
    } | changes.pop("hyperparameters", {})  # fmt: skip
    measure = {"meter": "none", "sample_seconds": 0.5, "idle_seconds": 0.0}
    measure |= {name: changes.pop(name) for name in measure if name in changes}
    values = {
        "method": settings.kind, "task": "cola", "seed": 1, "settings": settings, "precision": "fp32",
        "batching": "length_grouped", "cuda_graphs": "auto", "evaluation_batch_size": 16, "device": "cpu",
        "base_model": "base",
        "hyperparameters": Hyperparameters(**hyperparameters), "measure": MeterSettings(**measure),
    }  # fmt: skip
    return RunSpec(**(values | changes))


def run_inputs(model: Path, data: Path, start: Path | None = None):
    """The inputs of a run: a prepared model, a folder of tokenized data, the folder of a run to start from."""
    from lora_core.training.run import RunInputs

    return RunInputs(
        model=model,
        train_data=data / "train.safetensors",
        validation_data=data / "validation.safetensors",
        data_card=data / "card.json",
        start_weights=start and start / "weights",
        start_record=start and start / "run.json",
        test_data=data / "test.safetensors" if (data / "test.safetensors").exists() else None,
    )


def run_outputs(folder: Path):
    """The outputs of a run in one folder, named as the workflow names them."""
    from lora_core.training.run import RunOutputs

    return RunOutputs(
        record=folder / "run.json",
        history=folder / "history.csv",
        power=folder / "power.csv",
        predictions=folder / "predictions.safetensors",
        weights=folder / "weights",
        progress=folder / "progress.json",
        lock=folder / ".lock",
    )


def trained(settings, model: Path, data: Path, out: Path, start: Path | None = None, **changes) -> Path:
    """The folder of a finished run."""
    from lora_core.training.run import train

    train(spec(settings, base_model=model.name, **changes), run_inputs(model, data, start), run_outputs(out))
    return out


def shared_glue() -> Path:
    """The folder of real GLUE data that the environment variable GLUE names; without it the test is skipped."""
    folder = os.environ.get("GLUE", "")
    if not Path(folder, "cola").is_dir():
        pytest.skip("needs real GLUE data: set GLUE to a folder in the layout of the hub's nyu-mll/glue")
    return Path(folder)


def changed(**changes):
    """The default configuration with dotted keys set."""
    config = copy.deepcopy(DEFAULT)
    for path, value in changes.items():
        *parents, last = path.split("__")
        section = config
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    return config


def validation_batches(folder):
    """The validation split of a task's data, and its batches."""
    from lora_core.data import batches

    examples = batches.load(folder / "validation.safetensors")
    return examples, list(batches.batches(examples, batches.evaluation_order(examples.lengths, 16), 0))


def validation_score(model, folder):
    """Matthews correlation of a model on the validation set."""
    import torch

    from lora_core.data.metrics import METRICS
    from lora_core.training.steps import compute_logits

    examples, batches = validation_batches(folder)
    logits = np.empty((len(examples), 2), np.float32)
    with torch.inference_mode():
        for batch in batches:
            logits[batch.rows] = compute_logits(model.eval(), batch, torch.device("cpu")).numpy()
    return METRICS["matthews"].function(examples.labels, logits), logits


# Variants of a method as inference is timed.
FFT, MERGED, UNMERGED = ("fft", "plain"), ("lora", "merged"), ("lora", "unmerged")


def latency_rows(times, mode="pass", examples=200):
    """Timed passes from `{(method, variant): seconds of each round}`."""
    return [
        LatencyRow(number, 1, *key, mode, examples, 32, seconds)
        for number in range(1, 1 + len(next(iter(times.values()))))
        for key, all_seconds in times.items()
        for seconds in [all_seconds[number - 1]]
    ]


def power_samples(epochs, seconds, joules):
    """Training windows at a constant power, an idle one before them and a short evaluation after each."""
    watts = None if joules is None else joules / seconds
    rows = [PowerRow(0.0, 0, "idle", "gpu", watts and 2.0, None, 100.0, None)]
    rows.append(PowerRow(5.0, 0, "idle", "gpu", watts and 2.0, None, 100.0, None))
    for epoch in range(epochs):
        start = 5.0 + epoch * (seconds + 1)
        train = [("train", t) for t in np.linspace(0.0, seconds, 1 + max(1, round(seconds / 0.5)))]
        for phase, t in (*train, ("eval", seconds), ("eval", seconds + 1)):
            rows.append(PowerRow(start + float(t), 0, phase, "gpu", watts, None, 300.0, None))
    return rows


def powercap(tmp_path, packages=2, top=1_000_000):
    """A folder like the kernel's with the energy counters of some CPU packages, in microjoules."""
    for package in range(packages):
        zone = tmp_path / f"intel-rapl:{package}"
        part = tmp_path / f"intel-rapl:{package}:0"
        for folder in (zone, part):
            folder.mkdir()
            (folder / "max_energy_range_uj").write_text(str(top))
            (folder / "energy_uj").write_text("900000")
            (folder / "name").write_text("core\n" if folder == part else f"package-{package}\n")
    return tmp_path


@contextmanager
def interrupted_before_epoch(stopped):
    """A block in which a run is interrupted when this epoch begins."""
    from lora_core.training.loop import TrainingLoop

    plain = TrainingLoop._run_epoch

    def run_epoch(loop, epoch):
        if epoch == stopped:
            raise KeyboardInterrupt
        plain(loop, epoch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingLoop, "_run_epoch", run_epoch)
        with pytest.raises(KeyboardInterrupt):
            yield


def ended_jobs(output):
    """The jobs that a snakemake ended by what it printed, such as "train LoRA (own) on CoLA, seed 1"."""
    return re.findall(r"^ *\d+/\d+ (.+) \(\d+ s\)$", output, re.MULTILINE)


REFERENCES = References(full="fft", adapter="lora", library="lora_ref")
METHOD_LABELS = {"fft": "Full fine-tuning", "lora": "LoRA (own)", "lora_ref": "LoRA (loralib)"}
DRAWN = {"references": REFERENCES, "labels": METHOD_LABELS}


RUN = read_run_record(ROOT / "tests" / "fixtures" / "run_format1.json")  # of a real run


def merged(content, changes):
    """Nested plain values with others in their place."""
    inside = {
        name: merged(content[name], change)
        for name, change in changes.items()
        if isinstance(change, dict) and isinstance(content.get(name), dict)
    }
    return content | changes | inside


def run_content(method="lora", task="cola", seed=1, **changes):
    """The content of a run.json on a CPU without a meter, all else as in a real run, with changes merged into it."""
    plain = {
        "run": {"method": method, "task": task, "seed": seed, "data": {"task": task}},
        "measurement": {
            "energy": {
                "meter": "none", "reason": "no meter here", "source": None, "boundary": None, "train_joules": None,
            },
        },
        "provenance": {"device": "cpu", "device_model": "a CPU", "threads": 2, "shared": None},
    }  # fmt: skip
    return merged(merged(RUN | {"files": {}}, plain), changes)


def write_run(file, content):
    """Write a record that nobody edited: with its seal, except in the format of the first version."""
    if "format" in content:
        content = seal({name: value for name, value in content.items() if name != SEAL})
    write_json(file, content)


def metered_run(results, method="lora", task="rte", seed=1, epochs=3, **changes):
    """The folder of a finished run on a GPU whose files agree: its power samples give 100 W while it trained.

    No energy of an evaluation is known. `changes` are merged into the record.
    """
    from lora_core.measuring import conditions
    from lora_core.records import HistoryRow, PowerRow, file_digests, write_rows

    seconds, folder = 4.0, results / "runs" / method / task / f"seed{seed}"
    power = power_samples(epochs, seconds, 100.0 * seconds)
    scores = [0.5 + 0.1 * epoch for epoch in range(epochs)]
    history = [
        HistoryRow(
            epoch=number, part=0, steps=78, tokens_real=1000, tokens_computed=1200,
            train_loss=1.0 / number, score=score, metrics={"accuracy": score},
            train_seconds=seconds, train_processor_seconds=4.0, train_thread_seconds=4.0, eval_seconds=1.0,
            train_energy_joules=100.0 * seconds, eval_energy_joules=None, saved_for_backward_mb=50.0,
            peak_allocated_mb=400.0, peak_reserved_mb=500.0 + number,
        )
        for number, score in enumerate(scores, 1)
    ]  # fmt: skip
    write_rows(folder / "history.csv", history, HistoryRow)
    write_rows(folder / "power.csv", power, PowerRow)
    measured = {
        "score": {"best": max(scores), "best_epoch": epochs, "last": scores[-1]},
        "train_seconds": seconds * epochs, "eval_seconds": 1.0 * epochs,
        "preparation": {"seconds": 0.0, "energy_joules": None},
        "memory": conditions.memory(power) | {"peak_reserved_mb": 500.0 + epochs},
        "energy": {
            "meter": "nvml", "source": "trapezoid", "boundary": "the GPU alone, without the host", "reason": None,
            "train_joules": 100.0 * seconds * epochs,
        },
    }  # fmt: skip
    place = {"provenance": {"device": "gpu-1", "device_model": "NVIDIA H200"}, "measurement": measured}
    content = merged(run_content(method, task, seed, **place), changes)
    write_run(folder / "run.json", content | {"files": file_digests(folder, "history.csv", "power.csv")})
    return folder


def latency_record(file, tokens=None, suspended=0.0, **provenance):
    """Write the record about timed passes."""
    place = run_content(provenance=provenance)["provenance"]
    write_json(file, {"provenance": place, "input_tokens": tokens or {}, "suspended_seconds": suspended})


def energy_run(method, seed, scores, seconds=10.0, joules=100.0, baseline=0.5):
    """A run with these scores, as the costs to a threshold read it."""
    from lora_core.evaluation.run_history import RunHistory

    history = pd.DataFrame(
        {
            "epoch": range(1, len(scores) + 1),
            "score": scores,
            "part": 0,
            "train_seconds": seconds,
            "train_energy_joules": joules,
        }
    )
    changes = {
        "run": {"data": {"validation": {"baseline_score": baseline}}},
        "measurement": {"train_seconds": seconds * len(scores)},
    }
    run = RunRecord.from_json(run_content(method, seed=seed, **changes))
    return RunHistory(run, history, power_samples(len(scores), seconds, joules))


def record(folder, method, seed, memory=500.0, task="cola", **changes):
    """The file of a run's record with its memory and its device.

    `device` (the model), `threads` and `shared` change its provenance, all other changes its memory.
    """
    provenance = {"device_model": changes.pop("device", "a CPU")}
    provenance |= {name: changes.pop(name) for name in ("threads", "shared") if name in changes}
    file = folder / f"{method}-{task}-{seed}.json"
    parts = ("weights_mb", "gradients_mb", "optimizer_mb", "saved_for_backward_mb")
    used = dict(zip(parts, (90.0, 20.0, 40.0, 50.0), strict=True))
    figures = {
        "kind": "resident", "baseline_mb": 200.0, "mean_mb": memory, "peak_mb": 600.0,
        "peak_allocated_mb": None, "peak_reserved_mb": None, **used, "largest_batch": [8, 20],
        "predicted": used | {"saved_for_backward_mb": 60.0}, **changes,
    }  # fmt: skip
    write_run(file, run_content(method, task, seed, measurement={"memory": figures}, provenance=provenance))
    return file


def scored(folder, *runs, metric="matthews", differences=(), task="cola"):
    """A task's scores: (method, seed, best, last, cross-fitted, collapsed)."""
    from lora_core.evaluation.scores import DIFFERENCE_COLUMNS

    file = folder / f"{task}.csv"
    header = "method,seed,best,last,cross_fitted,collapsed,metric,examples,baseline_score,shared\n"
    lines = [f"{','.join(map(str, run))},{metric},277,0.5,\n" for run in runs]
    file.write_text(header + "".join(lines))
    lines = [",".join(DIFFERENCE_COLUMNS) + "\n", *(f"{','.join(map(str, d))}\n" for d in differences)]
    file.with_name(f"{task}_differences.csv").write_text("".join(lines))
    return [file]


def texts(table):
    """A table's cells as `{(row, column): text}`."""
    return {(cell.row, cell.column): cell.text for cell in table.cells}


def timed(folder, times, task="cola", shared=None, inputs=None):
    """The timed passes of a task, `{(method, variant): seconds of each round}`, and their record; the CSV file."""
    file = folder / task / "seed1.csv"
    singles = {key: [0.01 if key == FFT else 0.011 if key[0] == "lora" else 0.022] * 4 for key in times}
    write_rows(file, latency_rows(times) + latency_rows(singles, "single", 1), LatencyRow)
    tokens = {method: {"longest": 512, "truncated": 0} for method, _ in times} | (inputs or {})
    latency_record(file.with_suffix(".json"), tokens, shared=shared)
    return file


def write_counts(file, trainable):
    """counts.json of a model of 100 parameters with these trainable ones, `{method: parameters}`."""
    counts = {method: {"trainable": number, "head": 2, "total": 100} for method, number in trainable.items()}
    write_json(file, {"outputs": 2, "full": 100, "methods": counts})


METHODS, TASKS, SEEDS = ("fft", "lora", "vera"), ("cola", "rte"), (1, 2, 3)
NO_METER = "no meter <here> & now"


def write_regimes(file, break_evens, device_model="a GPU", sizes=((16, 16),), threads=2, **changes):
    """Write regimes.json as measured steps of fft and lora give it: `{task: {"time": ..., "energy": ... or None}}`.

    An epoch has 100 steps; the steps of a task, and those of the grid's `sizes`, take 40 ms with lora.
    """
    rows, parts = [], dict.fromkeys(("forward", "backward", "update"), 0.01)
    predicted = {part: {"launches": 0.01, "bytes": 0.0, "arithmetic": 0.0, "random numbers": 0.0} for part in parts}
    for task, ratios in {"": {"time": 1.5, "energy": None}, **break_evens}.items():
        for shape in sizes if not task else [(16, 20)]:
            for method in ("fft", "lora"):
                time, energy = (ratios[name] or 1.0 if method == "fft" else 1.0 for name in ("time", "energy"))
                joules = None if ratios["energy"] is None else 8.0 * energy
                rounds = [0.04 * time * wiggle for wiggle in (0.99, 1.0, 1.01)] if ratios["time"] else []
                rows.append({
                    "method": method, "rows": shape[0], "tokens": shape[1], "task": task, "execution": "eager",
                    "rounds": rounds, "parts": parts, "joules": joules, "peak_mb": None, "saved_mb": 10.0,
                    "predicted": predicted, "reason": None,
                })  # fmt: skip
    size = {"rows": 16, "tokens": 20}
    tasks = {
        task: {"sizes": {m: size | {"task": task} for m in ("fft", "lora")}, "steps": {"fft": 100, "lora": 100}}
        for task in break_evens
    }
    where = {"device": "gpu-0", "device_model": device_model, "threads": threads}
    place = run_content(provenance=where)["provenance"]
    launches = {"eager": dict.fromkeys(parts, 1e-3)}
    rates = dict.fromkeys(("in_place_bytes", "functions", "random_numbers", "squares"), 1e30)
    rates |= {name: [[1.0, 1e30]] for name in ("bytes", "flops")}
    constants = {f"{name}_per_second": value for name, value in rates.items()} | {"launches_ahead": True}
    content = {
        "model": "base", "execution": "eager", "constants": constants | {"launches": launches}, "rows": rows,
        "tasks": tasks, "provenance": place | {"precision": "fp32"},
    }  # fmt: skip
    content |= changes
    write_json(file, content)
    return file


class Made:
    """Records of a study that was never run; `disturbed` holds the method, task and seed of runs."""

    def __init__(self, folder, energy=None, never=(), disturbed=(), tasks=TASKS, seeds=SEEDS, methods=METHODS):
        rng = np.random.default_rng(1)
        self.counts = folder / "counts.json"
        write_counts(self.counts, {m: {"fft": 1000, "lora": 100}.get(m, 10) for m in methods})
        self.runs = [record(folder, m, s, task=t) for m in methods for t in tasks for s in seeds]
        self.scores, self.costs, self.curves, self.latency = [], [], [], []
        (folder / "scores").mkdir()
        for task in tasks:
            runs = [(m, s, 0.8 + 0.01 * s, 0.7, 0.7, False) for m in methods for s in seeds]
            self.scores += scored(folder / "scores", *runs, task=task)
            reached = {m: None if m in never else 2 for m in methods}
            rows = [
                {
                    "method": m, "seed": s, "device": "a CPU", "planned_epochs": 3, "train_seconds": 30.0 + s,
                    "median_epoch_seconds": 10.0 + s / 3, "disturbed": (m, task, s) in disturbed,
                    "epochs_to_seed_threshold": 2, "reached": reached[m] is not None, "energy_source": None,
                    "energy_boundary": None, "start_from": None, "shared": None,
                    "threshold": 0.75, "threshold_meaningful": True, "epochs_to_threshold": reached[m],
                    "meter_reason": None if energy else NO_METER,
                    "seconds_to_threshold": reached[m] and 20.0 + s,
                    "energy_to_threshold_joules": reached[m] and energy, "net_energy_to_threshold_joules": None,
                    "train_energy_joules": energy, "simulated": False,
                }
                for m in methods for s in seeds
            ]  # fmt: skip
            self.costs.append(folder / f"{task}.csv")
            pd.DataFrame(rows).to_csv(self.costs[-1], index=False)
            epochs = [
                {"method": m, "seed": s, "epoch": e, "score": 0.25 * e, "cumulative_train_seconds": 10.0 * e,
                 "cumulative_train_energy_joules": energy and energy * e}
                for m in methods for s in seeds for e in (1, 2, 3)
            ]  # fmt: skip
            self.curves.append(folder / f"{task}_curve.csv")
            pd.DataFrame(epochs).to_csv(self.curves[-1], index=False)
            passes = [
                LatencyRow(n, i, m, v, "pass", 9, 3, float(rng.uniform(0.1, 0.2)))
                for n in range(5)
                for i, (m, v) in enumerate([("fft", "plain"), ("lora", "merged"), ("lora", "unmerged")])
            ]
            (folder / "latency" / task).mkdir(parents=True)
            self.latency.append(folder / "latency" / task / "seed1.csv")
            write_rows(self.latency[-1], passes, LatencyRow)
            latency_record(self.latency[-1].with_suffix(".json"))

    @property
    def inputs(self):
        """The files by the names that the catalogue of tables and figures uses."""
        names = ("scores", "costs", "curves", "latency", "runs")
        return {name: getattr(self, name) for name in names} | {
            "counts": [self.counts],
            "differences": [file.with_name(f"{file.stem}_differences.csv") for file in self.scores],
            "latency_records": [file.with_suffix(".json") for file in self.latency],
            "measured_regimes": [],
        }


def draw_table(name, inputs, **settings):
    """A table of the catalogue."""
    from lora_core.reporting import catalogue
    from lora_core.reporting.inputs import DrawSettings

    return catalogue.table(name).function()(inputs, DrawSettings(**DRAWN | settings))


def draw_figure(name, inputs, folder, **settings):
    """A figure of the catalogue in both widths; its wide SVG file, with the CSV of the same name."""
    from lora_core.reporting import catalogue
    from lora_core.reporting.figures.svg import FigureFiles, write_figure
    from lora_core.reporting.inputs import DrawSettings

    files = FigureFiles(folder / f"{name}.svg", folder / f"{name}-narrow.svg", folder / f"{name}.csv")
    write_figure(catalogue.figure(name).function(), inputs, DrawSettings(**DRAWN | settings), files)
    return files.svg


def latency_inputs(*files):
    """Timed passes and the records about them, by the names that the catalogue of tables and figures uses."""
    return {"latency": files, "latency_records": [file.with_suffix(".json") for file in files]}


def score_inputs(files):
    """Scores and differences, by the names that the catalogue of tables and figures uses."""
    return {"scores": files, "differences": [file.with_name(f"{file.stem}_differences.csv") for file in files]}


# Runs a real script up to the import of torch, for which a module that reports a variable stands in.
UNTIL_TORCH = """
import os, runpy, sys
from types import SimpleNamespace as Any
_, script, log, variable, device = sys.argv
class Reports:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(f"{variable}: {os.environ.get(variable)}", file=sys.stderr)
            raise SystemExit(1)
sys.meta_path.insert(0, Reports())
class Named(list):
    items = lambda self: []
method = {"kind": "full"}
params = Any(run={"device": device, "settings": method}, plan={"device": device}, methods={"fft": method}, code="")
names = Any(method="fft", task="cola", seed=1)
snakemake = Any(params=params, wildcards=names, log=[log], output=Named(), input=Named(), config={}, rule="a rule")
runpy.run_path(script, {"snakemake": snakemake})
"""


def log_until_torch(script: str, log: Path, variable: str, device: str, **environment: str) -> str:
    """The log of a measured job that ends when it imports torch, with a line for an environment variable's value."""
    arguments = [str(ROOT / "workflow" / "scripts" / script), str(log), variable, device]
    command = [sys.executable, "-c", UNTIL_TORCH, *arguments]
    job = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment or None)
    assert log.is_file(), job.stderr
    return log.read_text()


needs_latex = pytest.mark.skipif(
    not (shutil.which("pdflatex") and shutil.which("pdftotext")),
    reason="no LaTeX here (apt: texlive-latex-recommended poppler-utils)",
)


def printed_words(folder, *tables, options=""):
    """The words of tables, given as LaTeX, in a PDF. Fail where LaTeX stops, or something is larger than a page.

    `options` are those of the class article, such as twocolumn.
    """
    for number, table in enumerate(tables):
        (folder / f"{number}.tex").write_text(table)
    body = "".join(rf"\input{{{number}.tex}}\clearpage " for number in range(len(tables)))
    start = rf"\documentclass[{options}]{{article}}\usepackage{{array,booktabs}}"
    (folder / "all.tex").write_text(rf"{start}\begin{{document}}{body}\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout, done.stdout[-2000:]
    assert "Overfull" not in done.stdout, done.stdout[-2000:]
    text = subprocess.run(["pdftotext", "all.pdf", "-"], cwd=folder, capture_output=True, text=True, check=True).stdout
    return unicodedata.normalize("NFKC", text).replace("’", "'").split()
