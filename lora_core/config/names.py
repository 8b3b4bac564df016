"""The names and paths of a configuration: which of them can name a file, a wildcard of Snakemake, and a result."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from lora_core.config.results_folder import normal_path

MAX_NAME = 100  # characters; file systems allow 255 for a file, whose name has more parts


def _no_period(name: str) -> str:
    """Refuse a name in which Snakemake sees a wildcard that repeats itself forever."""
    if repeated := re.search(r"(.+)\1{19}$", name):
        raise ValueError(f"the name repeats {repeated[1]!r} too often; choose another one")
    return name


# Names that become folders: no separator, no leading dot or dash, no character that a shell interprets.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=MAX_NAME), AfterValidator(_no_period)]
# One line for people to read, without what a terminal or a browser would obey (C1 controls, directions of writing).
Label = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+$", max_length=50)]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="a full commit hash; a branch is not pinned")]


def path_problem(path: str) -> str | None:
    """Return why no file system can have a path; None if one can."""
    if not path.strip():
        return "the path is empty; name a folder"
    if unusable := re.search(r"[\x00\ud800-\udfff]", path):  # half of a character, as "\ud800" in JSON
        return f"no path can have the character {unusable[0]!r}; remove it"
    return None


def _check_path(path: Any) -> Any:
    if isinstance(path, str) and (problem := path_problem(path)):
        raise ValueError(problem)
    return path


PATH = BeforeValidator(_check_path)
LocalPath = Annotated[str, PATH]
# A folder of results: no braces (wildcards), quotes or control characters, no leading dash or tilde.
Folder = Annotated[
    str, Field(pattern=r"""^[^-~{}"'`$\x00-\x1f][^{}"'`$\x00-\x1f]*$"""), AfterValidator(normal_path), PATH
]


def _no_wildcard(path: str) -> str:
    """Refuse a folder that Snakemake would take for a pattern; it has no way to write a brace."""
    if re.search(r"[{}]", path):
        raise ValueError("braces are wildcards of Snakemake; rename the folder, or name a link to it")
    return path


DataFolder = Annotated[LocalPath, AfterValidator(_no_wildcard)]
HubId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$", max_length=2 * MAX_NAME)]
