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
