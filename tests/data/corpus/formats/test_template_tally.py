from realm_tf.data.corpus.formats import template_tally
from realm_tf.data.corpus.formats.template_tally import TemplateTally


def tally(*names, is_kept=True):
    counted = TemplateTally()
    for name in names:
        counted.add(name, is_kept)
    return counted


def test_tallies_add_up():
    whole = tally("cn", "cn", is_kept=False)
    whole.add_encoded(tally("lang", "convert").encoded())
    whole.add_encoded(tally("lang").encoded())
    assert whole.facts() == {
        "templates_kept": {"lang": 2, "convert": 1},
        "templates_left_out": {"cn": 2},
    }


def test_facts_name_the_most_frequent(monkeypatch):
    monkeypatch.setattr(template_tally, "_NUM_NAMED", 2)
    names = tally("c", "b", "b", "a").facts()["templates_kept"]
    assert list(names.items()) == [("b", 2), ("a", 1)]


def test_without_templates_there_are_no_facts():
    assert TemplateTally().facts() == {}
