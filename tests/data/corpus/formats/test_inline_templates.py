import pytest

from realm_tf.data.corpus.formats.inline_templates import printed
from realm_tf.data.corpus.wikitext import strip_wikitext


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("convert|300|m|ft|abbr=on", "300 m"),
        ("convert|5|to|7|km|mi", "5 to 7 km"),
        ("Birth_date|1775|12|16", "December 16, 1775"),
        ("birth date|df=yes|1775|12|06", "6 December 1775"),
        ("start date|1815", "1815"),
        ("start date|1815|12", "December 1815"),
        ("formatnum:1,000", "1,000"),
        ("lang|fr|Les Misérables", "Les Misérables"),
        ("lang|fr", ""),
        ("lang-fr|château", "château"),
        ("nowrap|a + b = 10 km", "a + b = 10 km"),
        ("nowrap|1=10 km", "10 km"),
        ("circa|1800", "c. 1800"),
        ("circa", "c."),
        ("frac|2", "1/2"),
        ("frac|3|4", "3/4"),
        ("frac|1|3|4", "1 3/4"),
        ("frac", ""),
        ("val|5.2|u=kg", "5.2 kg"),
        ("val|5.2|0.1|ul=kg", "5.2±0.1 kg"),
        ("ill|Karl Meyer|de|Karl Meyer (Maler)", "Karl Meyer"),
        ("as of|2014|lc=y", "as of 2014"),
        ("As of|2014|5|1|post=,", "As of 1 May 2014,"),
        ("as of|2014|since=y", "Since 2014"),
        ("as of|2014|alt=in 2014", "in 2014"),
        ("as of", ""),
        ("chem|C|2|H|6", "C2H6"),
        ("angbr|a", "⟨a⟩"),
        ("'s", "'s"),
        ("snd", " – "),
        ("HMS|Ajax|22|6", "HMS Ajax"),
        ("US$|2 billion", "US$2 billion"),
        ("US$", ""),
        ("e|24", "×10^24"),
        ("langx|de|Wort", "Wort"),
        ("script/Arabic|ﷲ", "ﷲ"),
        ("OldStyleDate|February 2|1905|January 20", "February 2 1905"),
        ("quote|text=It is.|author=A", "It is."),
        ("quote|It is.|A", "It is."),
        ("hlist|a|b|", "a, b"),
        ("start-date|7 December 1941", "7 December 1941"),
        ("Template:Nowrap|10 km", "10 km"),
        ("#if:x|y", ""),
        ("citation needed|date=May", ""),
        ("convert", ""),
        ("", ""),
    ],
)
def test_common_templates_print_their_facts(inside, expected):
    assert printed(inside) == expected


def test_facts_stay_in_the_running_text():
    wikitext = (
        "The bridge is {{convert|300|m|ft}} long and opened in "
        "{{start date|1932|3}}.{{cn}} {{nowrap|[[A]] {{circa|1800}}}}"
    )
    assert strip_wikitext(wikitext) == (
        "The bridge is 300 m long and opened in March 1932. A c. 1800"
    )
