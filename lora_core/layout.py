"""Every path below a results folder. No other module writes one out.

`Layout("results").run_record` is the pattern `results/runs/{method}/{task}/seed{seed}/run.json`, which Snakemake takes
as it is and Python fills with `.format(method=..., task=..., seed=...)`. `Layout.run_record` is the same pattern
relative to the results folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath


class _Below:
    """A path below the results folder, as a pattern with wildcards such as {task} and {seed}."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def __get__(self, layout: Layout | None, owner: type[Layout]) -> str:
        return self.pattern if layout is None else f"{layout.results}/{self.pattern}"


# The names of files in a run's folder and a task's data; the digests in run.json and card.json have them as keys.
HISTORY, POWER, PREDICTIONS = "history.csv", "power.csv", "predictions.safetensors"
SPLIT = "{split}.safetensors"
MERGE_RECORD = "merge.json"  # in the folder of a merged model

DIFFERENCES, CURVE = "_differences", "_curve"  # the endings of a task's second file next to its first

_RUN = "runs/{method}/{task}/seed{seed}"


@dataclass(frozen=True)
class Layout:
    """The paths of one results folder."""

    results: str

    study = _Below("study.json")
    model = _Below("models/{model}")
    model_config = _Below("models/{model}/config.json")
    model_record = _Below("models/{model}.json")
    data = _Below("data/{task}")
    train_data = _Below(f"data/{{task}}/{SPLIT.format(split='train')}")
    validation_data = _Below(f"data/{{task}}/{SPLIT.format(split='validation')}")
    test_data = _Below(f"data/{{task}}/{SPLIT.format(split='test')}")  # of a task that has a test split
    data_card = _Below("data/{task}/card.json")
    data_sources = _Below("data/{task}/sources.json")

    counts = _Below("counts.json")
    gradients = _Below("gradients/{method}.json")
    memory = _Below("memory/{task}.json")
    memory_scaling = _Below("scaling.json")
    regimes = _Below("regimes.json")

    run = _Below(_RUN)
    run_record = _Below(f"{_RUN}/run.json")
    history = _Below(f"{_RUN}/{HISTORY}")
    power = _Below(f"{_RUN}/{POWER}")
    predictions = _Below(f"{_RUN}/{PREDICTIONS}")
    weights = _Below(f"{_RUN}/weights")
    model_card = _Below(f"{_RUN}/README.md")
    kept = _Below(f"{_RUN}/kept.json")
    progress = _Below(f"{_RUN}/progress.json")
    run_lock = _Below(f"{_RUN}/.lock")
    checkpoint = _Below("checkpoints/{method}+{task}+seed{seed}")  # no name has a plus
    merged = _Below("merged/{method}/{task}/seed{seed}")
    merged_record = _Below("merged/{method}/{task}/seed{seed}.json")

    latency = _Below("latency/{task}/seed{seed}.csv")
    latency_record = _Below("latency/{task}/seed{seed}.json")
    scores = _Below("scores/{task}.csv")
    differences = _Below(f"scores/{{task}}{DIFFERENCES}.csv")
    costs = _Below("energy/{task}.csv")
    curve = _Below(f"energy/{{task}}{CURVE}.csv")

    runs = _Below("runs.csv")
    table = _Below("tables/{table}")  # with .md, .csv, .tex, .json
    figure = _Below("figures/{figure}")  # with .svg, .csv
    narrow_figure = _Below("figures/{figure}-narrow.svg")
    claims = _Below("claims")  # with .md, .csv
    report = _Below("report.html")

    logs = _Below("logs")
    train_log = _Below("logs/train/{method}/{task}/seed{seed}.log")

    def log(self, job: str) -> str:
        """Return the log of a job: the name of its rule, followed by its wildcards such as "/{task}"."""
        return f"{self.results}/{Layout.logs}/{job}.log"


def paths_of(wildcard: str, value: str) -> list[str]:
    """Return every path below a results folder that has this wildcard, with this value in its place."""
    name = f"{{{wildcard}}}"
    return [pattern.replace(name, value) for pattern in paths() if name in pattern]


def paths() -> list[str]:
    """Return the pattern of every path below a results folder."""
    return [below.pattern for below in vars(Layout).values() if isinstance(below, _Below)]


def is_place(path: str, *, folder: bool) -> bool:
    """Return whether a study writes to a path below its results folder, or to one below that.

    With `folder`, a folder lies there: return whether the study writes a file in its place.
    """
    files, folders = _places()
    if folder:
        return _fits(path, files) and not _fits(path, folders)
    return _fits(path, files | folders)


@cache
def _places() -> tuple[frozenset[str], frozenset[str]]:
    """The patterns of all files below a results folder, and of all folders."""
    patterns = paths()
    parents = {str(parent) for pattern in patterns for parent in PurePosixPath(pattern).parents}
    folders = {*parents, Layout.weights, Layout.merged, Layout.checkpoint}
    files = {pattern for pattern in patterns if pattern not in folders}
    return frozenset({*files, f"{Layout.claims}.md", f"{Layout.claims}.csv"}), frozenset(folders)


def _fits(path: str, patterns: frozenset[str]) -> bool:
    return any(re.fullmatch(_expression(pattern, seed=r"\d+"), path) for pattern in patterns)


def _expression(pattern: str, **values: str) -> str:
    """The regular expression of a pattern, with a group for each wildcard: a part of a path, or what is given."""
    return re.sub(
        r"\\\{(\w+)\\\}", lambda match: f"(?P<{match[1]}>{values.get(match[1], '[^/]+')})", re.escape(pattern)
    )


@dataclass(frozen=True)
class CheckpointFiles:
    """The files in the folder of a run's checkpoint."""

    folder: Path

    @property
    def state(self) -> Path:
        """The run after an epoch."""
        return self.folder / "state.safetensors"

    @property
    def samples(self) -> Path:
        """The meter's samples."""
        return self.folder / POWER

    @property
    def key(self) -> Path:
        """What the run's result is decided by, as a digest."""
        return self.folder / "key"


def exit_record(log: Path) -> Path:
    """Return the file that says how the job with this log ended."""
    return log.with_suffix(".json")


def wildcards(pattern: str, path: Path) -> dict[str, str]:
    """Return the values of a layout pattern's wildcards in a path, such as {"task": "cola"} for scores/cola.csv.

    Only the last parts of the path are compared, from the first that has a wildcard on. Raise ValueError if the path
    does not fit the pattern.
    """
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if "{" in part)
    match = re.search(f"(?:^|/){_expression('/'.join(parts[first:]))}$", Path(path).as_posix())
    if match is None:
        raise ValueError(f"{path} is not named like {pattern}")
    return match.groupdict()


def place(pattern: str, path: Path) -> str | None:
    """Return where below a results folder a file belongs by its name, such as "scores/cola.csv"; None if by none."""
    try:
        return pattern.format(**wildcards(pattern, path))
    except ValueError:
        return None
