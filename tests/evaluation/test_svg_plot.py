import xml.etree.ElementTree as ElementTree

import pytest

from realm_tf.evaluation.svg_plot import svg_plot

LINE = [(0.0, 0.0), (0.5, 0.25), (1.0, 1.0)]


def points(svg, kind="l"):
    return [
        [tuple(map(float, p.split(","))) for p in line.get("points").split()]
        for line in ElementTree.fromstring(svg).iter("polyline")
        if line.get("class") == kind
    ]


def test_points_stand_where_their_values_say():
    svg = svg_plot("Title", "x", "y", {"a": LINE})
    [[first, middle, last]] = points(svg)
    assert middle[0] == pytest.approx((first[0] + last[0]) / 2)
    assert first[1] - middle[1] == pytest.approx((first[1] - last[1]) / 4)
    assert len(list(ElementTree.fromstring(svg).iter("circle"))) == 3


def test_a_logarithmic_axis_has_equal_steps_for_equal_ratios():
    line = [(1, 0.1), (10, 0.2), (100, 0.3)]
    svg = svg_plot("", "", "", {"a": line}, x_ticks=[1, 10, 100], is_log=True)
    [[first, middle, last]] = points(svg)
    assert middle[0] == pytest.approx((first[0] + last[0]) / 2)
    assert ">100</text>" in svg


def test_a_single_tick_can_be_drawn():
    svg = svg_plot("", "", "", {"a": [(1, 0.5)]}, x_ticks=[1], is_log=True)
    assert len(points(svg)[0]) == 1


def test_diagonal_is_drawn_on_request():
    assert not points(svg_plot("", "", "", {"a": LINE}), "d")
    svg = svg_plot("", "", "", {"a": LINE}, has_diagonal=True)
    [[first, last]] = points(svg, "d")
    [[start, _, end]] = points(svg)
    assert (first, last) == (start, end)


def test_several_lines_are_named_and_texts_escaped():
    lines = {f"<b>{name}": LINE for name in "abcde"}
    svg = svg_plot("<i>'", "&", "y", lines)
    names = [e.text for e in ElementTree.fromstring(svg).iter("tspan")]
    assert names == list(lines)
    assert "<b>" not in svg and "<i>" not in svg
    assert "<tspan" not in svg_plot("", "", "", {"a": LINE})
