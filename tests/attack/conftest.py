"""Fixtures of attacks: folders of each kind, and the table of counts."""

import collections
import dataclasses
import pathlib

import pytest

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.options import ScannOptions

EXPORTED = ("query_embedder", "block_embedder", "reader")
_PROPERTY = "attacked"


@pytest.fixture(scope="session")
def folders(make_qa, cities, short_featurizer, tmp_path_factory):
    """`one/` and `other/`, each with corpus, index, preset and bundle.

    The index has ScaNN's files where that is installed, and updates.
    """
    root = tmp_path_factory.mktemp("folders")
    more = [
        dataclasses.replace(city, document_id=f"more {city.document_id}")
        for city in cities
    ]
    write_all(root / "one", make_qa(seed=0), [*cities, *more], short_featurizer)
    more.reverse()
    write_all(
        root / "other", make_qa(seed=1), [*more, *cities], short_featurizer
    )
    return root


def write_all(folder: pathlib.Path, qa, articles, featurizer, exports=EXPORTED):
    """Writes a folder of each kind, of one model and its documents."""
    folder.mkdir()
    corpus = build_corpus(
        articles,
        folder / "corpus",
        featurizer,
        max_wordpieces=featurizer.block_length,
    )
    qa.lexical_weight = 0.5
    qa.build_index(corpus, folder / "index", **scann_options())
    qa.add_documents([Article("bonn", "Bonn", "Bonn is a city in Germany.")])
    qa.delete_documents(["rome"])
    qa.save_to_preset(folder / "preset", include_corpus=True)
    qa.export(folder / "bundle", models=exports)


def scann_options():
    try:
        import scann  # noqa: F401
    except ImportError:
        return {"searcher": "brute_force"}
    options = ScannOptions(num_leaves=2, leaves_to_search=2)
    return {"searcher": "scann", "scann": options, "recall_floor": 0.0}


@pytest.fixture
def count(request):
    """Counts an attack and how it ended, for the table at the end."""
    counts = collections.Counter()

    def add(attack, outcome, number=1):
        counts[attack, outcome] += number

    yield add
    found = [[*names, number] for names, number in counts.items()]
    request.node.user_properties.append((_PROPERTY, found))


def pytest_terminal_summary(terminalreporter):
    """Prints how often what was attacked, and how that ended."""
    totals = collections.Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) != "teardown":
                continue
            for name, found in report.user_properties:
                if name == _PROPERTY:
                    for attack, outcome, number in found:
                        totals[attack, outcome] += number
    if not totals:
        return
    terminalreporter.section("attacks")
    lines = [f"| {a} | {o} | {n:,} |" for (a, o), n in totals.items()]
    for line in ["| attack | outcome | times |", "|---|---|---:|", *lines]:
        terminalreporter.write_line(line)
