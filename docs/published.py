"""Prints docs/published.md: the figures that the paper publishes (`make pictures`)."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lora_core.reporting.catalogue import table  # noqa: E402
from lora_core.reporting.markdown import markdown_table  # noqa: E402
from lora_core.reporting.published import TABLES  # noqa: E402
from lora_core.reporting.table import grid  # noqa: E402

TEXT = """# The paper's figures

<!-- Made by `make pictures` (docs/published.py) from lora_core/reporting/published.py; a test compares the two. -->

A study of the paper's model and data prints these below its own tables, and says in what else it differs. A study of
another model or other data prints none of them, because they would not be comparable.
"""


def main() -> None:
    """Print a section for each table."""
    print(TEXT)
    for name, published in TABLES.items():
        block = published.block()
        print(f"## {name.replace('table', 'Table ', 1)}: {table(name).title}\n" if name.startswith("table") else
              f"## {table(name).title}\n")  # fmt: skip
        print(f"{block.source}\n")
        print("\n".join(markdown_table(grid(block.cells, "hyperparameter" if name == "table7" else ""))), end="\n\n")


if __name__ == "__main__":
    main()
