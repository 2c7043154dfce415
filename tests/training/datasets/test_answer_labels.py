import numpy as np
import pytest

from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.questions.questions import Question
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.errors import MismatchError
from realm_tf.training.datasets.answer_labels import AnswerLabels

BOOK = (
    "The first book came out in 1815. It is about the south of England. "
    "She was born in 1815. She was often there."
)
YEARS = "The year 1815 was long and the year 1815 was cold."
ACCENTS = "The man José lived in Zürich for years."
LONG = "The " + "city " * 90 + "was founded in 1500."


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, short_featurizer):
    """Every sentence is a block; of the book its title leaves room for one."""
    texts = {"years": YEARS, "accents": ACCENTS, "long": LONG}
    articles = [Article(name, name, text) for name, text in texts.items()]
    articles.insert(0, Article("book", "book " * 97, BOOK))
    path = tmp_path_factory.mktemp("labels") / "corpus"
    return build_corpus(articles, path, short_featurizer, max_wordpieces=110)


def blocks_with(corpus, text):
    return [i for i in range(corpus.num_blocks) if text in corpus[i].text]


def asked(answer, passage_id=None, start=None, **options):
    starts = () if start is None else (start,)
    return Question("q", "when?", (answer,), passage_id, starts, **options)


def labels_of(corpus, question, featurizer):
    return AnswerLabels(corpus, [question], featurizer)


def spelled(labels, block_id, featurizer):
    """The texts of the gold spans of question 0 in a block."""
    block = labels.corpus[block_id]
    joint = featurizer.joint(["when?"], [block.title], [block.text])
    joint = {name: value.numpy()[0] for name, value in joint.items()}
    text = block.text.encode()
    spans = labels.spans(0, labels.question(0), block_id, joint)
    return [
        (int(joint["starts"][s]), text[joint["starts"][s] : joint["ends"][e]])
        for s, e in spans
    ]


def test_marked_answer_makes_one_block_of_the_passage_right(
    corpus, short_featurizer
):
    question = asked("1815", "book", BOOK.rindex("1815"))
    known = labels_of(corpus, question, short_featurizer).question(0)
    [born] = blocks_with(corpus, "She was born")
    assert known.gold.tolist() == [born]
    assert known.marks == {born: ((len("She was born in "), "1815"),)}
    others = [i for i in blocks_with(corpus, "1815") if i != born]
    assert len(others) == 2
    assert known.ambiguous.tolist() == others


def test_passage_without_a_mark_makes_its_holders_right(
    corpus, short_featurizer
):
    question = asked("1815", "book")
    known = labels_of(corpus, question, short_featurizer).question(0)
    first, born, years = blocks_with(corpus, "1815")
    assert known.gold.tolist() == [first, born]
    assert known.ambiguous.tolist() == [years]
    assert known.marks == {}


@pytest.mark.parametrize("passage_id", [None, "accents", "unknown"])
def test_without_a_right_passage_all_holders_are_right(
    passage_id, corpus, short_featurizer
):
    question = asked("1815", passage_id)
    known = labels_of(corpus, question, short_featurizer).question(0)
    assert known.gold.tolist() == blocks_with(corpus, "1815")
    assert known.ambiguous.tolist() == []


def test_marked_answer_that_is_not_in_the_passage_marks_nothing(
    corpus, short_featurizer
):
    question = asked("England", "years", 3)
    known = labels_of(corpus, question, short_featurizer).question(0)
    assert known.marks == {}
    assert known.gold.tolist() == blocks_with(corpus, "England")


def test_regex_questions_have_no_labels(corpus, short_featurizer):
    question = asked("18.5", "book", BOOK.index("1815"), regex=True)
    labels = labels_of(corpus, question, short_featurizer)
    known = labels.question(0)
    assert (len(known.gold), len(known.ambiguous)) == (0, 0)
    assert known.marks == {}
    [block_id] = blocks_with(corpus, "first book")
    assert spelled(labels, block_id, short_featurizer) == []


def test_unknown_answer_has_no_labels(corpus, short_featurizer):
    labels = labels_of(corpus, asked("England in 1900"), short_featurizer)
    assert len(labels.question(0).gold) == 0


def test_only_the_marked_occurrence_is_a_gold_span(corpus, short_featurizer):
    [block_id] = blocks_with(corpus, "cold")
    places = [YEARS.index("1815"), YEARS.rindex("1815")]
    for place in places:
        question = asked("1815", "years", place)
        labels = labels_of(corpus, question, short_featurizer)
        spans = spelled(labels, block_id, short_featurizer)
        assert spans == [(place, b"1815")]
    labels = labels_of(corpus, asked("1815"), short_featurizer)
    spans = spelled(labels, block_id, short_featurizer)
    assert spans == [(place, b"1815") for place in places]


@pytest.mark.parametrize("answer", ["José", "Zürich", "José lived in Zürich"])
@pytest.mark.parametrize("is_marked", [True, False])
def test_spans_decode_to_answers_with_accents(
    is_marked, answer, corpus, short_featurizer
):
    mark = ("accents", ACCENTS.index(answer)) if is_marked else ()
    labels = labels_of(corpus, asked(answer, *mark), short_featurizer)
    [block_id] = labels.question(0).gold
    start = len(ACCENTS[: ACCENTS.index(answer)].encode())
    spans = spelled(labels, block_id, short_featurizer)
    assert spans == [(start, answer.encode())]


@pytest.mark.parametrize("is_marked", [True, False])
def test_answer_that_was_cut_off_has_no_span(
    is_marked, corpus, short_featurizer
):
    mark = ("long", LONG.index("1500")) if is_marked else ()
    labels = labels_of(corpus, asked("1500", *mark), short_featurizer)
    [block_id] = labels.question(0).gold
    assert spelled(labels, block_id, short_featurizer) == []
    roomy = Featurizer(short_featurizer.vocabulary, joint_length=160)
    assert spelled(labels, block_id, roomy) == [(LONG.index("1500"), b"1500")]


def test_block_that_is_cut_to_nothing_has_no_span(corpus, short_featurizer):
    question = asked("1815", "years", YEARS.index("1815"))
    labels = labels_of(corpus, question, short_featurizer)
    [block_id] = labels.question(0).gold
    nothing = {
        name: np.zeros(8, np.int32)
        for name in ("token_ids", "block_mask", "starts", "ends")
    }
    assert labels.spans(0, labels.question(0), block_id, nothing) == []


def test_another_tokenizer_is_refused(corpus, short_featurizer):
    other = Featurizer(short_featurizer.vocabulary, lowercase=False)
    with pytest.raises(MismatchError, match="`featurizer` must be the one"):
        AnswerLabels(corpus, [asked("1815")], other)


def test_answers_without_known_wordpieces_are_counted(
    corpus, short_featurizer, caplog
):
    questions = [asked("\u2603"), asked("1815 \u2603"), asked("1815")]
    AnswerLabels(corpus, questions, short_featurizer)
    assert "Skipped 2 answers without known wordpieces" in caplog.text
