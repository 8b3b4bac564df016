"""A figure's SVG as it stands inside the page: shapes and text alone, whoever wrote the file.

The page shows and hides parts of its figures and gives them its own color of text, so they are elements of the page and
no images. What is not on the lists below (scripts, handlers, styles, links, foreign content) is left out. A `use` may
draw a single shape again, as figures do with their markers: what draws others again could multiply without bound.
"""

import html
import re
from collections.abc import Mapping
from pathlib import Path
from xml.parsers import expat

from lora_core.records import require_regular_file

SVG, XLINK = "http://www.w3.org/2000/svg ", "http://www.w3.org/1999/xlink "
ELEMENTS = frozenset({"svg", "g", "defs", "clipPath", "path", "rect", "use", "text", "tspan", "title"})
SHAPES = frozenset({"path", "rect"})
TEXTS = frozenset({"text", "tspan", "title"})
GEOMETRY = frozenset({"d", "x", "y", "width", "height", "viewBox", "transform"})
PROPERTIES = frozenset(
    {
        *("fill", "fill-opacity", "stroke", "stroke-opacity", "stroke-width", "stroke-dasharray", "stroke-dashoffset"),
        *("stroke-linecap", "stroke-linejoin", "opacity", "text-anchor"),
        *("font-size", "font-family", "font-style", "font-weight"),
    }
)
VALUE = re.compile(r"[\w\s.,()#%'+-]*")  # no colon, slash or backslash, so no address and no escape
IDENTIFIER = r"#([A-Za-z_][\w.-]*)"


def read_svg(path: Path) -> str:
    """Return a figure as an element of the page. Raise ValueError if the file is not an SVG."""
    require_regular_file(path)
    shapes = _Shapes(path.stem)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = shapes.start, shapes.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = shapes.text, shapes.refuse_entity
    try:
        parser.Parse(path.read_bytes(), True)
        shapes.check_references()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise ValueError(f"{path} is not a figure ({error}); delete it and run again") from None
    if not shapes.parts:
        raise ValueError(f"{path} is not a figure (it has no svg element); delete it and run again")
    return "".join(shapes.parts)


def split_title(svg: str) -> tuple[str, str]:
    """Return the title of a figure that `read_svg` returned (empty without one), and the figure without it.

    A figure says in its title what it shows; inside the page it would be a tooltip wherever the mouse is.
    """
    match = re.match(r"(<svg[^>]*>)<title>([^<]*)</title>", svg)
    return (html.unescape(match[2]).strip(), match[1] + svg[match.end() :]) if match else ("", svg)


class _Shapes:
    """Collects the allowed elements while a parser reads.

    Identifiers begin with the figure's name, so that no other element of the page has the same.
    """

    def __init__(self, figure: str) -> None:
        self.parts: list[str] = []
        self._figure = figure
        self._open: list[str] = []
        self._identifiers: list[str | None] = []  # of the open elements
        self._drawn_again: set[str] = set()  # what a `use` refers to
        self._compound: set[str] = set()  # what is more than a single shape
        self._skipped = 0  # depth below an element that is left out

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        tag = name.removeprefix(SVG)
        misplaced = (tag == "svg") != (not self._open) or self._open[-1:] == ["title"]
        if self._skipped or misplaced or not name.startswith(SVG) or tag not in ELEMENTS:
            self._skipped += 1
            return
        self._open.append(tag)
        kept = {key.removeprefix(XLINK): self._attribute(key, value) for key, value in attributes.items()}
        self._identifiers.append(kept.get("id"))
        if tag == "use":
            self._drawn_again.add(kept.get("href") or "")
        if tag not in SHAPES:
            self._compound |= {f"#{name}" for name in (self._identifiers if tag == "use" else self._identifiers[-1:])}
        written = (f' {key}="{html.escape(value)}"' for key, value in kept.items() if value is not None)
        self.parts.append(f"<{tag}{''.join(written)}>")

    def end(self, name: str) -> None:
        if self._skipped:
            self._skipped -= 1
        else:
            self.parts.append(f"</{self._open.pop()}>")
            self._identifiers.pop()

    def text(self, text: str) -> None:
        if not self._skipped and self._open and self._open[-1] in TEXTS:
            self.parts.append(html.escape(text))

    def check_references(self) -> None:
        """Raise ValueError if a `use` refers to more than a single shape."""
        if nested := sorted(self._drawn_again & self._compound):
            raise ValueError(f"it draws {nested[0]} again, which is more than a single shape")

    def refuse_entity(self, name: str, *_: object) -> None:
        raise ValueError(f"it defines the entity {name!r}")

    def _attribute(self, name: str, value: str) -> str | None:
        """Return the value of an attribute as the page has it; None if it is left out."""
        match name:
            case "data-method" | "data-task":
                return value
            case "class":
                return value if value == "background" else None
            case "style":
                return self._style(value)
            case "id":
                return self._identifier(f"#{value}")
            case "clip-path":
                if "clipPath" in self._open:  # a clip of a clip
                    return None
                match = re.fullmatch(rf"url\(({IDENTIFIER})\)", value)
                return match and f"url(#{self._identifier(match[1])})"
            case "href" | "http://www.w3.org/1999/xlink href":
                identifier = self._identifier(value)
                return identifier and f"#{identifier}"
        return value if name in GEOMETRY and VALUE.fullmatch(value) else None

    def _identifier(self, reference: str) -> str | None:
        match = re.fullmatch(IDENTIFIER, reference)
        return match and f"figure-{self._figure}-{match[1]}"

    def _style(self, style: str) -> str:
        pairs = ((name.strip(), value.strip()) for name, _, value in (part.partition(":") for part in style.split(";")))
        allowed = ((n, v) for n, v in pairs if n in PROPERTIES and VALUE.fullmatch(v) and "url" not in v.lower())
        return "; ".join(f"{name}: {value}" for name, value in allowed)
