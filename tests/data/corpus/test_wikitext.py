import time

import pytest

from realm_tf.data.corpus.formats.template_tally import TemplateTally
from realm_tf.data.corpus.wikitext import MAX_DEPTH, strip_wikitext


@pytest.mark.parametrize(
    ("wikitext", "plain"),
    [
        ("", ""),
        ("'''Emma''' is a ''novel''.", "Emma is a novel."),
        ("[[novel]], [[Jane Austen|Austen]]", "novel, Austen"),
        ("[[:Category:Novels]] [[Category:Novels]]", "Category:Novels"),
        ("A[[Datei:a.jpg|b]][[ Bild : x]][[Kategorie:Buch|c]] B.", "A B."),
        (
            "A[[Tập_tin:a.jpg]][[カテゴリ:x]] [[Filet: a dish]]",
            "A Filet: a dish",
        ),
        ("A[[File:a.jpg|thumb|An [[x|y]] {{z}}]] B.", "A B."),
        ("{{Infobox\n| a = {{b|c}}\n|}}Text.", "Text."),
        ("{|\n! a\n|-\n| b {{c}}\n|}\nText.", "Text."),
        (
            'It is.<ref name="a">[[b]] {{c}}</ref> So.<ref name="a"/>',
            "It is. So.",
        ),
        ("1<!-- a --> 2<!-- never closed", "1 2"),
        ("a<!-- <!-- b --> c", "a c"),
        ("== Head ==\nText.\n=== Sub ===\nMore.", "Text.\n\nMore."),
        ("* one\n** two\n# three\n: four", "one\ntwo\nthree\nfour"),
        ("See [http://a.org the site] or [//b.org].", "See the site or."),
        ("a<br />b <span style='x'>c</span>", "a b c"),
        ("Emma ({{IPA|x}}; {{lang|y}}) is.", "Emma is."),
        ("Emma ({{IPA|x}}, born 1815)", "Emma (born 1815)"),
        ("R&amp;D &lt;tag&gt; 1&nbsp;km", "R&D <tag> 1 km"),
        ("__NOTOC__Text\n----\nMore", "Text\n\nMore"),
        ("<math>a_{{b}</math>x", "x"),
        ("stray }} and ]] and |}", "stray and and |}"),
        ("{{open [[a|b]] <ref> text", "open b text"),
    ],
)
def test_strip_keeps_running_text(wikitext, plain):
    assert strip_wikitext(wikitext) == plain


def test_namespaces_decide_which_links_show():
    wikitext = "A [[Bild:a.jpg|b]] [[Projekt:C|c]]"
    assert strip_wikitext(wikitext, hidden={"projekt"}) == "A b"
    assert strip_wikitext(wikitext, hidden=()) == "A b c"


def test_templates_within_text_are_counted():
    tally = TemplateTally()
    strip_wikitext(
        "{{Infobox|a={{nowrap|b}}}}\n{{Reflist}}\n'''Emma''' {{Nowrap|is}} "
        "{{cn|date={{nowrap|May}}}} so.<ref>{{cite web}}</ref> {{Cn}}",
        tally=tally,
    )
    assert tally.facts() == {
        "templates_kept": {"nowrap": 1},
        "templates_left_out": {"cn": 2},
    }


@pytest.mark.parametrize("opener", ["{{", "[[", "{|\n", "<ref>"])
def test_strip_gives_up_on_deep_nesting(opener):
    assert strip_wikitext(opener * MAX_DEPTH) is not None
    assert strip_wikitext(opener * (MAX_DEPTH + 1)) is None


def test_number_of_a_character_may_be_of_any_length():
    assert strip_wikitext("a&#" + "1" * 5000 + ";b") == "a\ufffdb"


@pytest.mark.parametrize("start", ["", "[//a", "[[file", "&#", "<br "])
@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "1",
        " ",
        "{{a|b=[[c|",
        "[http://a ",
        "<ref name=",
        "<!--",
        "}}",
        "= ",
        "(,;",
        "\n ",
    ],
)
def test_strip_takes_time_in_proportion(start, unit):
    began = time.perf_counter()
    strip_wikitext(start + unit * (500_000 // len(unit)))
    # 0.5 s at most here; what is not linear needs minutes.
    assert time.perf_counter() - began < 20
