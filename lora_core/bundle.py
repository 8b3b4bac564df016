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

from lora_core.config import Study, read_files
from lora_core.provenance import ROOT
from lora_core.records import whole_file

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


def pack(study: Study, out: Path) -> None:
    """Write a study's archive: the same bytes for the same files. Raises ValueError where the study is not finished."""
    folder = Path(study.results_dir)
    missing = [name for name in ("claims.csv", "runs.csv", "report.html") if not (folder / name).exists()]
    if missing:
        raise ValueError(f"{folder} has no {missing[0]}: run the study first, then make its bundle")
    files = {f"{RESULTS}/{file.relative_to(folder)}": file.read_bytes() for pattern in (*RAW, *DRAWN)
             for file in sorted(folder.glob(pattern)) if file.is_file() and not file.name.startswith(".")}  # fmt: skip
    held = json.loads(files[f"{RESULTS}/study.json"])
    files[f"{RESULTS}/study.json"] = _json(_without_places(held))
    files[CONFIG] = _json(_without_places(study.model_dump(mode="json", exclude_unset=True) | {"results_dir": RESULTS}))
    files[LOCK] = (ROOT / LOCK).read_bytes()
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as beside, zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that names no folder of this machine."""
    for section in (config.get("data"), config.get("model"), *(config.get("task_settings") or {}).values()):
        if isinstance(section, dict) and section.get("source", "local") == "local" and "path" in section:
            section["path"] = LOCAL
    return config


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def verify(bundle: Path) -> list[str]:
    """Draw everything again from the raw records; the names of what came out otherwise.

    Raises ValueError for an archive that is none of these, and where the workflow fails.
    """
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(bundle) as archive:
        folder = Path(name)
        names = archive.namelist()
        if CONFIG not in names or any(Path(n).is_absolute() or ".." in Path(n).parts for n in names):
            raise ValueError(f"{bundle} is no bundle of a study")
        drawn = [n for n in names if n.startswith(f"{RESULTS}/") and _matches(n, DRAWN)]
        archive.extractall(folder, [n for n in names if n not in drawn])
        _stand_ins(folder)
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "all"]
        command += ["--quiet", "all", "--allowed-rules", *RULES, "--configfile", CONFIG, "--", *drawn]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"the workflow did not draw the bundle again:\n{(done.stdout + done.stderr)[-2000:]}")
        return [n for n in drawn if (folder / n).read_bytes() != archive.read(n)]


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(Path(name).relative_to(RESULTS).match(pattern) for pattern in patterns)


def _stand_ins(folder: Path) -> None:
    """Empty files in the place of data and models from folders: they must be there, and no job here reads them."""
    tasks = [card.parent.name for card in folder.glob(f"{RESULTS}/data/*/card.json")]
    names = [f"{task}/{split}-0.parquet" for task in tasks for split in ("train", "validation", "validation_matched")]
    for name in (*names, "train.csv", "validation.csv", "config.json", "model.safetensors"):
        file = folder / LOCAL / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


if __name__ == "__main__":
    try:
        if sys.argv[1] == "pack":
            study = read_files(*sys.argv[3:])
            pack(study, Path(sys.argv[2]))
            print(f"{sys.argv[2]}: {Path(sys.argv[2]).stat().st_size / 1e6:.1f} MB")
        else:
            different = verify(Path(sys.argv[2]))
            print("\n".join(f"differs: {name}" for name in different) or "Every table and figure came out the same.")
            raise SystemExit(bool(different))
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from None
