"""Runs the scripts of this folder one after the other and reports whose behavior has changed (`make findings`)."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def verdict(status: int, errors: str) -> str:
    """Return what a script's exit status and standard error say; what pip cannot install says nothing of a behavior."""
    if status == 0:
        return "as described"
    return "not installed" if any(line.startswith("ERROR:") for line in errors.splitlines()) else "CHANGED"


def run_all(scripts: Sequence[Path]) -> dict[str, str]:
    """Run scripts and print a line for each, with the output of one that failed; return the verdicts by name."""
    verdicts = {}
    for script in scripts:
        start = time.monotonic()
        done = subprocess.run(["bash", script], capture_output=True, text=True)
        verdicts[script.stem] = verdict(done.returncode, done.stderr)
        print(f"{verdicts[script.stem]:13} {time.monotonic() - start:4.0f} s  {script.stem}", flush=True)
        if done.returncode:
            print(done.stdout + done.stderr, flush=True)
    return verdicts


def main(names: Sequence[str], folder: Path = Path(__file__).parent) -> int:
    """Run the named scripts, or all; return 1 if a behavior has changed or could not be tried."""
    scripts = [folder / f"{name}.sh" for name in names] or sorted(folder.glob("*.sh"))
    verdicts = run_all(scripts)
    others = [f"{name} ({said})" for name, said in verdicts.items() if said != "as described"]
    print(f"{len(verdicts) - len(others)} of {len(verdicts)} as described{'; ' * bool(others)}{', '.join(others)}")
    return bool(others)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
