"""A figure that somebody else wrote cannot multiply its shapes inside of the page."""

import re

import pytest

from lora_core.reporting.page.figure_svg import read_svg

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SHAPE = '<path id="a0" d="M 0 0"/>'


def twice(name, other, tag="g"):
    return f'<{tag} id="{name}"><use href="#{other}"/><use xlink:href="#{other}"/></{tag}>'


NESTED = {
    "groups of groups": SHAPE + "".join(twice(f"a{i}", f"a{i - 1}") for i in range(1, 20)) + '<use href="#a19"/>',
    "a group": '<g id="a"><path d="M 0 0"/><path d="M 1 1"/></g><use href="#a"/>',
    "a later group": '<use href="#a"/><g id="a"><path d="M 0 0"/></g>',
    "itself": '<g id="a"><use href="#a"/></g>',
    "a use": SHAPE + '<use id="b" href="#a0"/><use href="#b"/>',
    "a use in a shape": SHAPE + '<path id="b" d="M 0 0"><use href="#a0"/></path><use href="#b"/>',
    "definitions": SHAPE + "<defs>" + twice("b", "a0") + twice("c", "b") + "</defs>",
    "the figure": '<use href="#all"/>',
    "two elements of a name": '<path id="b" d="M 0 0"/>' + twice("b", "a0") + '<use href="#b"/>',
    "a text": '<text id="t">much text</text><use href="#t"/>',
}


def written(folder, content):
    file = folder / "scores.svg"
    file.write_text(f'<svg {NAMESPACES} id="all">{content}</svg>')
    return file


@pytest.mark.parametrize("content", NESTED.values(), ids=NESTED)
def test_a_figure_that_draws_more_than_a_shape_again_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match=r"scores\.svg is not a figure \(it draws #figure-scores-\w+ again") as caught:
        read_svg(written(tmp_path, content))
    assert len(str(caught.value)) < 300


def test_a_marker_that_is_drawn_again_is_kept(tmp_path):
    text = read_svg(written(tmp_path, f'<defs>{SHAPE}</defs><g id="line"><use href="#a0"/><use href="#a0"/></g>'))
    assert text.count('<use href="#figure-scores-a0">') == 2


def test_a_clip_has_no_clip_itself(tmp_path):
    clip = '<clipPath id="c{0}" clip-path="url(#c{1})"><rect clip-path="url(#c{1})"/></clipPath>'
    clipped = '<g clip-path="url(#c2)"><path d="M 0 0"/></g>'
    text = read_svg(written(tmp_path, clip.format(1, 0) + clip.format(2, 1) + clipped))
    assert re.findall("<[^>]*clip-path[^>]*>", text) == ['<g clip-path="url(#figure-scores-c2)">']
