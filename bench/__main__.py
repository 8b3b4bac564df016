"""Measure, write `bench.json` and `bench.md`, print the table: `python -m bench --help`."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench import growth, inference, quality, starts, training
from bench.paired import Row, table
from bench.place import Place
from lora_core import provenance
from lora_core.job import QUIET
from lora_core.records import read_json, write_json

BENCHMARKS: dict[str, Callable[[Place], list[Row]]] = {
    "padding": training.padding,
    "train_job": starts.train_job,
    "table_job": starts.table_job,
    "snakemake": starts.snakemake,
    "layer": training.layer,
    "steps": training.steps,
    "utilisation": training.utilisation,
    "epoch": training.epoch,
    "merged": inference.merged,
    "evaluation": inference.evaluation,
    "examples": growth.examples,
    "lengths": growth.lengths,
    "runs": growth.runs,
    "quality": quality.run,
}


def main() -> None:
    os.environ.update(QUIET)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which (default: all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--glue", type=Path, help="a folder laid out as nyu-mll/glue (default: mini-GLUE)")
    parser.add_argument("--out", type=Path, default=Path("results/bench"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="the smallest size: shows that it runs, measures nothing")
    told = parser.parse_args()
    if unknown := set(told.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {sorted(unknown)[0]!r}; there are {', '.join(BENCHMARKS)}")
    if told.glue is not None and not told.glue.is_dir():
        parser.error(f"--glue: there is no folder {str(told.glue)!r}")
    place = Place(told.out, told.glue, told.threads, told.quick)
    torch.set_num_threads(told.threads)
    told.out.mkdir(parents=True, exist_ok=True)
    file = told.out / "bench.json"
    parts: dict[str, Any] = read_json(file)["benchmarks"] if file.exists() else {}
    for name in told.names or BENCHMARKS:
        print(f"bench: {name}", file=sys.stderr, flush=True)
        started = provenance.collect(torch.device("cpu"), told.threads)
        rows = [asdict(row) | {"verdict": row.verdict} for row in BENCHMARKS[name](place)]
        parts[name] = {"provenance": started, "data": "GLUE" if told.glue else "mini-GLUE", "quick": told.quick,
                       "rows": rows}  # fmt: skip
        # After each, so that what was measured is kept whatever comes.
        write_json(file, {"benchmarks": {known: parts[known] for known in BENCHMARKS if known in parts}})
    shown = [Row(**_without(row, "verdict")) for known in BENCHMARKS if known in parts for row in parts[known]["rows"]]
    (told.out / "bench.md").write_text(table(shown), encoding="utf-8")
    print(table(shown), end="")


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


if __name__ == "__main__":
    main()
