"""Fixtures that the tests of the workflow share: a tiny study that has run."""

import pytest
from filelock import FileLock
from project import Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Project:
    """A project whose tiny study has run: once for all workers of pytest, each of which gets a copy."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent
    made_in, printed = base / "a folder" / "projekt ü", base / "output of the study"
    with FileLock(base / "study.lock"):
        if not printed.exists():
            status, output = Project(made_in).run()
            assert status == 0, output
            printed.write_text(output)
    project = Project(tmp_path_factory.mktemp("a copy") / "projekt ü", made_in)
    project.made_in, project.output = made_in, printed.read_text()
    return project


@pytest.fixture
def study(finished):
    """The finished study; afterwards, what a test changed in code and configuration is restored."""
    files = [*finished.folder.rglob("*.py"), *finished.folder.rglob("protocols/*.yaml")]
    originals = {path: path.read_bytes() for path in files}
    finished.configure()
    yield finished
    for path, content in originals.items():
        if path.read_bytes() != content:
            path.write_bytes(content)
    finished.configure()
