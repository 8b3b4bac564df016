"""Builds the documentation as a site with mkdocs (`make docs`); every warning is an error.

Pages also lie outside of docs/ and link to each other. The site is built from a copy in which all lie as they do here,
so that a link that works in the repository works in the site.
"""

import logging
import shutil
import sys
import tempfile
from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

ROOT = Path(__file__).parents[1]
# Pages, and the files that they show or link to.
GATHERED = (
    "*.md",
    "LICENSE",
    "config/*",
    "results/README.md",
    "docs/**/*.md",
    "docs/*.svg",
    "docs/*.png",
    "docs/*.css",
    "examples/*.py",
    "findings/*",
)


def gather(folder: Path) -> None:
    """Copy what the site is made from."""
    for pattern in GATHERED:
        for file in ROOT.glob(pattern):
            copy = folder / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)


def build_site(site: Path) -> None:
    """Write the site. Raise Abort if mkdocs has a warning: a link that leads nowhere, a page that is not listed."""
    with tempfile.TemporaryDirectory() as folder:
        gather(Path(folder))
        build(load_config(str(ROOT / "mkdocs.yml"), docs_dir=folder, site_dir=str(site), strict=True))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        build_site(Path(sys.argv[1]).resolve())
    except Abort as error:
        sys.exit(str(error))
