"""Fixtures that the tests of the workflow share: a tiny study that has run."""

import pytest
from project import Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A project whose tiny study has run."""
    project = Project(tmp_path_factory.mktemp("a folder") / "projekt ü")
    status, project.output = project.run()
    assert status == 0, project.output
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
