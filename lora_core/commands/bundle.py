"""`make bundle` and `make verify-bundle`: a study as one archive, from which every table and figure is drawn again.

The archive holds what was measured and what was drawn from it, the configuration, the lock and where each record comes
from; no weights and no text of the data. Verifying takes the raw records alone, lets the workflow score, aggregate,
judge and draw, and holds every file against the one in the archive, byte for byte.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from lora_core.config.study import read_files
from lora_core.provenance import ROOT
from lora_core.records import atomic_file

CONFIG, LOCK = "config.json", "requirements.lock"
RESULTS = "results"
# Measured; everything else that a bundle has is made from these.
RAW = (
    "study.json", "counts.json", "scaling.json", "runs/*/*/*/*.*", "latency/*/*", "data/*/card.json",
    "models/*/config.json",
)  # fmt: skip
DRAWN = ("tables/*", "figures/*", "scores/*", "energy/*", "claims.*", "runs.csv", "report.html")
RULES = (
    "compare_scores",
    "aggregate_energy",
    "collect_runs",
    "render_table",
    "draw_figure",
    "judge_claims",
    "write_report",
)
LOCAL = "not-in-the-bundle"  # where data and models from folders would lie


def pack(overlays: list[str], out: Path) -> None:
    """Write a study's archive: the same bytes for the same files.

    What belongs to the study, Snakemake says; what an earlier configuration left in the folder stays out. Raises
    ValueError where the study is not finished.
    """
    study = read_files(*overlays)
    folder = Path(study.results_dir)
    made = _snakemake(["--summary", *(["--configfile", *overlays] if overlays else [])], Path.cwd())
    lines = [line.split("\t") for line in made.splitlines() if line.startswith(f"{study.results_dir}/")]
    if waiting := [line[0] for line in lines if line[-1] != "no update"]:
        raise ValueError(
            f"{len(waiting)} files of the study are still to be made, {waiting[0]} among them: run it first"
        )
    own = {Path(line[0]) for line in lines}
    temp_path = {path for path in folder.glob("models/*/config.json") if path.parent in own}
    names = {str(path.relative_to(folder)): path for path in (*own, *temp_path, folder / "study.json")}
    files = {f"{RESULTS}/{name}": path.read_bytes() for name, path in names.items() if _matches(name, (*RAW, *DRAWN))}
    held = json.loads(files[f"{RESULTS}/study.json"])
    files[f"{RESULTS}/study.json"] = _json(_without_places(held))
    files[CONFIG] = _json(_without_places(study.model_dump(mode="json", exclude_unset=True) | {"results_dir": RESULTS}))
    files[LOCK] = (ROOT / LOCK).read_bytes()
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(out) as unfinished, zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


def _snakemake(words: list[str], folder: Path) -> str:
    """What the workflow prints there. Raises ValueError where it fails."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"the workflow failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that names no folder of this machine."""
    for section in _local(config):
        section["path"] = f"{LOCAL}/{Path(section['path']).resolve().name}"  # a model is called as its folder
    return config


def _local(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The sections that name a folder: data, model, tasks of one's own."""
    sections = (config.get("data"), config.get("model"), *(config.get("task_settings") or {}).values())
    return [s for s in sections if s and s.get("source", "local") == "local" and "path" in s]


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def verify(bundle: Path) -> dict[str, str]:
    """Draw everything again from the raw records; what did not come out as it is in the archive, and how.

    Raises ValueError for an archive that is none of these, and where the workflow fails.
    """
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(bundle) as archive:
        folder = Path(name)
        names = archive.namelist()
        if CONFIG not in names or any(Path(n).is_absolute() or ".." in Path(n).parts for n in names):
            raise ValueError(f"{bundle} is no bundle of a study")
        drawn = {n for n in names if n.startswith(f"{RESULTS}/") and _matches(n.removeprefix(f"{RESULTS}/"), DRAWN)}
        archive.extractall(folder, [n for n in names if n not in drawn])
        _stand_ins(folder, json.loads(archive.read(CONFIG)))
        # The report asks for every table and figure, and those for every score and cost.
        words = ["--cores", "all", "--quiet", "all", "--allowed-rules", *RULES, "--configfile", CONFIG]
        _snakemake([*words, "--", f"{RESULTS}/report.html"], folder)
        made = {str(path.relative_to(folder)) for p in DRAWN for path in (folder / RESULTS).glob(p)}
        found = dict.fromkeys(sorted(made - drawn), "is not in the bundle")
        found |= dict.fromkeys(sorted(drawn - made), "is not made from it")
        differ = [n for n in sorted(made & drawn) if (folder / n).read_bytes() != archive.read(n)]
        return found | dict.fromkeys(differ, "differs")


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(Path(name).match(pattern) for pattern in patterns)


def _stand_ins(folder: Path, config: dict[str, Any]) -> None:
    """Empty files in the place of data and models from folders: they must be there, and no job here reads them."""
    tasks = [card.parent.name for card in folder.glob(f"{RESULTS}/data/*/card.json")]
    names = [f"{task}/{split}-0.parquet" for task in tasks for split in ("train", "validation", "validation_matched")]
    for section in _local(config):
        for name in (*names, "train.csv", "validation.csv", "config.json", "model.safetensors"):
            file = folder / section["path"] / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


if __name__ == "__main__":
    try:
        if sys.argv[1] == "pack":
            pack(sys.argv[3:], Path(sys.argv[2]))
            print(f"{sys.argv[2]}: {Path(sys.argv[2]).stat().st_size / 1e6:.1f} MB")
        else:
            odd = verify(Path(sys.argv[2]))
            print(
                "\n".join(f"{name} {how}" for name, how in odd.items()) or "Every table and figure came out the same."
            )
            raise SystemExit(bool(odd))
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise SystemExit(str(error)) from None
