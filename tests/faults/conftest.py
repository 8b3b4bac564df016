"""A study that faults are injected into, and the check that nothing was lost and nothing is wrong afterwards.

Every test of this folder counts as one fault that was tried; a test that tries several adds the others itself.
"""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from builders import FAULTS
from faults import COMPARED, TABLE, Faulty
from project import unmeasured

from lora_core.processes import start_time


@pytest.fixture(autouse=True)
def counted():
    """Count the test as a fault that was tried."""
    yield
    FAULTS["tried"] += 1


@pytest.fixture(scope="session")
def ready(tmp_path_factory) -> Path:
    """A project whose model and data are prepared."""
    project = Faulty(tmp_path_factory.mktemp("faults") / "ready")
    status, output = project.run("results/data/cola/card.json")
    assert status == 0, output
    return project.folder


@pytest.fixture
def project(ready, tmp_path):
    made = Faulty(tmp_path / "Projekt ü 好", ready)
    yield made
    if made.marker.exists() and (text := made.marker.read_text()) and start_time(int(text)):
        os.kill(int(text), signal.SIGKILL)


@pytest.fixture(scope="session")
def finished(ready, tmp_path_factory) -> Path:
    """A project whose study has run, undisturbed."""
    project = Faulty(tmp_path_factory.mktemp("finished") / "project", ready)
    status, output = project.run(*COMPARED)
    assert status == 0, output
    return project.folder


@pytest.fixture(scope="session")
def undisturbed(finished) -> dict[str, Any]:
    """The results of the finished study that are not measured."""
    return unmeasured(finished / "results")


@pytest.fixture
def finish(project, undisturbed):
    """Run the same command again, as `make tables` does: it must finish the work, with nothing lost or wrong."""

    def again(*targets: str) -> str:
        unlocked = project.unlock()
        status, output = project.run(TABLE, *targets)
        assert status == 0, unlocked + output
        lost = [path for path, content in project.whole.items() if path.read_bytes() != content]
        results = unmeasured(project.results)
        needed = {name for name in undisturbed if name.startswith(("data/", "runs/", "scores/", "tables/table2.md"))}
        lost += sorted(needed - set(results))
        wrong = [name for name in results if results[name] != undisturbed.get(name)]
        FAULTS["lost"] += len(lost)
        FAULTS["wrong"] += len(wrong)
        assert (lost, wrong) == ([], [])
        assert not list(project.results.rglob("*.part"))
        assert not list(project.results.glob("checkpoints/*"))
        return unlocked + output

    return again
