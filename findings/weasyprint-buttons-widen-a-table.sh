#!/usr/bin/env bash
# weasyprint 70.0
#
# Guess:  a heading with a button in it, as in tables that can be sorted, is as wide as its text, which wraps where the table has no room,
#         as in Chromium and Firefox.
# Truth:  every button is as wide as an empty field of a form, whatever its text, and the text does not wrap. Eleven short headings
#         are 3.3 times as wide as A4 leaves room for, and what is too wide is cut at the edge of the paper without a word.
# Matters: pages of results have sortable tables, and their PDF loses its last columns although the browser's own print shows all. Right:
#         in @media print, `thead button { display: inline; white-space: normal; }`; either declaration alone is not enough.
# Output seen:
#   plain headings 1.00 of the page, buttons 3.28, buttons inline 1.11, buttons inline that wrap 1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --no-compile weasyprint==70.0
"$folder/venv/bin/python" - <<'PY'
import sys

from weasyprint import HTML

NAMES = ["method", "task", "seed", "best score, %", "best epoch", "last score, %", "train, s", "memory, mean MB",
         "saved for backward, MB", "energy, kJ", "record"]
INLINE, WRAP = "button { display: inline; }", "button { white-space: normal; }"


def boxes(box):
    yield box
    for inner in getattr(box, "children", []):
        yield from boxes(inner)


def width(heading, css=""):
    """The width of a table of these headings, as a share of what A4 has between margins of 15 mm."""
    cells = "".join(f"<th>{heading.format(name)}</th>" for name in NAMES)
    style = f"@page {{ size: A4; margin: 15mm; }} body {{ margin: 0; }} table {{ width: 100%; font-size: 8.5pt; }} {css}"
    document = HTML(string=f"<style>{style}</style><table><thead><tr>{cells}</tr></thead></table>").render()
    page = document.pages[0]._page_box
    return max(box.width for box in boxes(page) if type(box).__name__ == "TableBox") / page.width


button = "<button>{}</button>"
plain, wide, inline, wrapped = width("{}"), width(button), width(button, INLINE), width(button, INLINE + WRAP)
print(f"plain headings {plain:.2f} of the page, buttons {wide:.2f}, buttons inline {inline:.2f}, "
      f"buttons inline that wrap {wrapped:.2f}")
ok = plain < 1.01 and wrapped < 1.01 and wide > 2 and inline > 1.01 and width(button, WRAP) > 2
print("by guess: 1.00 each; really:", "buttons do not fit until they are inline and wrap" if ok else "something else (changed)")
sys.exit(0 if ok else 1)
PY
