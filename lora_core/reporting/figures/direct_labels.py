"""Names next to the points and lines that they name, where there is room for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_core.reporting.figures.canvas import SMALL, show_dollars, text_width
from lora_core.reporting.figures.style import tag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Place = tuple[float, float, str, str]
REACH = 5  # pixels from the middle of a marker to its edge, and from there to the text
LINE = 1.25 * SMALL
# Where a name may stand, best first: its shift in pixels, and its alignment.
PLACES: tuple[Place, ...] = (
    (2 * REACH, 0, "left", "center"),
    (-2 * REACH, 0, "right", "center"),
    (0, 1.5 * REACH, "center", "bottom"),
    (0, -1.5 * REACH, "center", "top"),
    (REACH, REACH, "left", "bottom"),
    (REACH, -REACH, "left", "top"),
    (-REACH, REACH, "right", "bottom"),
    (-REACH, -REACH, "right", "top"),
)

Box = tuple[float, float, float, float]  # left, bottom, right, top


@dataclass(frozen=True)
class Named:
    """A point of a panel, in its data, with its name and method; one without a name is only kept clear."""

    x: float
    y: float
    name: str
    method: str


def label_points(figure: Figure, points: Sequence[tuple[Any, Sequence[Named]]]) -> bool:
    """Write the names next to the points of each panel, and return whether all of them had room.

    A name overlaps no point and no other name, and stays inside its panel. Nothing is written unless all have room: a
    name that is missing would have to be looked up in a legend, which names them all.
    """
    show_dollars(figure)
    figure.draw_without_rendering()  # places the panels
    chosen = []
    for panel, named in points:
        places = _fit(panel, named)
        if places is None:
            return False
        chosen.append((panel, places))
    for panel, places in chosen:
        for point, (dx, dy, ha, va) in places:
            text = panel.annotate(
                point.name, (point.x, point.y), (dx, dy), textcoords="offset pixels", ha=ha, va=va, fontsize=SMALL
            )
            text.set_in_layout(False)
            tag(text, point.method)
    return True


def _fit(panel: Any, points: Sequence[Named]) -> list[tuple[Named, Place]] | None:
    """Choose a place for each name; None if one has no room."""
    left, bottom, right, top = panel.bbox.extents
    places = [panel.transData.transform((point.x, point.y)) for point in points]
    taken: list[Box] = [(x - REACH, y - REACH, x + REACH, y + REACH) for x, y in places]
    fitting = []
    for point, (x, y) in zip(points, places, strict=True):
        if not point.name:
            continue
        width = text_width(point.name, SMALL)
        for place in PLACES:
            box = _box(x + place[0], y + place[1], width, place[2], place[3])
            inside = left <= box[0] and box[2] <= right and bottom <= box[1] and box[3] <= top
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                fitting.append((point, place))
                break
        else:
            return None
    return fitting


def _box(x: float, y: float, width: float, ha: str, va: str) -> Box:
    left = x - width * {"left": 0, "center": 0.5, "right": 1}[ha]
    bottom = y - LINE * {"bottom": 0, "center": 0.5, "top": 1}[va]
    return left, bottom, left + width, bottom + LINE


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
