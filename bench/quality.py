"""Speed must not buy a worse score: the quick ways of training against plain random batches, over seeds.

`plain` is random batches, torch's own dropout and float32; `quick` is what this project does by default; `quick bf16`
is that under bf16 autocast. The runs are kept, and what is there is not run again.
"""

import sys
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

from bench.paired import Row
from bench.place import Place
from lora_core.records import read_json
from lora_core.stats import t_interval
from lora_core.training import run as train

# Stated before any run. In points of the score: what the validation split itself leaves open (one standard error of
# the score over its examples is about 1 point for STS-B's 1,500 and 3 for CoLA's 1,043).
MARGINS = {"stsb": 1.0, "cola": 3.0}
TRAINED_ON = {"stsb": 3000, "cola": None}  # where the task is learnt; the rest of STS-B adds little but time
# CoLA's score differs by some 3 points from seed to seed: three seeds decided nothing, ten were fixed before they ran.
SEEDS = {"stsb": (1, 2, 3), "cola": tuple(range(1, 11))}
EPOCHS = 3
WAYS: dict[str, dict[str, str]] = {
    "plain": {"batching": "random", "precision": "fp32"},
    "quick": {"batching": "bucketed", "precision": "fp32"},
    "quick bf16": {"batching": "bucketed", "precision": "bf16"},
}


def kept(place: Place, task: str, way: str, seed: int) -> Path:
    return place.folder / "quality" / way.replace(" ", "-") / task / f"seed{seed}"


def commit(place: Place, task: str, way: str, seed: int) -> str:
    """The code a kept run was made with."""
    made = read_json(kept(place, task, way, seed) / "run.json")["provenance"]
    return f"{(made['commit'] or 'unknown')[:7]}{' with changes' if made['dirty'] else ''}"


def score(place: Place, task: str, way: str, seed: int) -> float:
    """The last epoch's score in percent: it is not chosen."""
    out = kept(place, task, way, seed)
    if not (out / "run.json").exists():
        print(f"quality: {way} {task} seed {seed}", file=sys.stderr, flush=True)
        spec = place.spec(task, seed, epochs=EPOCHS, **WAYS[way])
        data = place.data(task, TRAINED_ON[task])
        with patch.object(train, "quicken", lambda *_: None) if way == "plain" else nullcontext():
            train.train(spec, place.model(), data, out, place.threads)
    return 100 * read_json(out / "run.json")["measurement"]["score"]["last"]


def run(place: Place) -> list[Row]:
    """Each quick way's mean difference to `plain` in points; met when its 95% lower bound is above minus the margin."""
    if place.quick or place.glue is None:
        return [Row("score of quick training", "plain random batches", None, note="needs GLUE=FOLDER and an hour")]
    rows = []
    for task, margin in MARGINS.items():
        scores = {way: [score(place, task, way, seed) for seed in SEEDS[task]] for way in WAYS}
        for way in list(WAYS)[1:]:
            differences = [a - b for a, b in zip(scores[way], scores["plain"], strict=True)]
            interval = t_interval(differences, 0.90)  # its low end is the one-sided 95% bound
            assert interval is not None
            commits = sorted({commit(place, task, each, seed) for each in ("plain", way) for seed in SEEDS[task]})
            shown = {name: " ".join(f"{value:.1f}" for value in scores[name]) for name in ("plain", way)}
            note = f"{shown[way]} against {shown['plain']}; lower bound of the difference {interval.low:+.2f}"
            rows.append(
                Row(f"score, {task}, {way}: margin left (points)", "plain random batches", interval.low + margin,
                    (">=", 0.0), note=f"margin {margin}; mean difference {interval.estimate:+.2f}; {note}; "
                    f"runs of commit {', '.join(commits)}")
            )  # fmt: skip
    return rows
