import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_tf.data.text.featurizer import Featurizer

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures"
GOLDEN = json.loads((FIXTURES / "featurization.json").read_text("utf-8"))
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
QUESTIONS = ["Who wrote Emma?", "", "When did the war end in the north?"]
TITLES = ["Emma", "", "The war"]
TEXTS = ["Emma is a novel.", "Café — ½ of 東京.", "It ended in 1815. " * 40]


@pytest.fixture(scope="module")
def golden():
    """The wordpieces that the golden outputs need."""
    return Featurizer(GOLDEN["vocabulary"].split())


def with_lengths(featurizer, **lengths):
    options = featurizer.get_config() | lengths
    return Featurizer(featurizer.vocabulary, **options)


def words(featurizer, ids):
    return " ".join(featurizer.vocabulary[i] for i in ids)


def read_rows(featurizer, features):
    """What a person would write down of each row."""
    rows = []
    for i in range(features["token_ids"].shape[0]):
        row = {name: value[i].numpy() for name, value in features.items()}
        length = row["padding_mask"].sum()
        for name in row:
            assert not row[name][length:].any(), f"{name} after the padding"
        segments = row["segment_ids"][:length]
        assert (np.diff(segments) >= 0).all()
        described = {
            "tokens": words(featurizer, row["token_ids"][:length]),
            "num_first_segment": int((segments == 0).sum()),
        }
        if "block_mask" in row:
            places = np.flatnonzero(row["block_mask"])
            assert (np.diff(places) == 1).all()
            described["block"] = [int(places[0]), int(places[-1]) + 1]
        rows.append(described)
    return rows


def assert_equal_features(one, other):
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


# The official code.


@pytest.mark.parametrize("case", GOLDEN["texts"], ids=lambda c: c["name"])
def test_tokens_equal_the_official_ones(golden, case):
    ids, starts, ends = golden.tokenize([case["text"]]).row(0)
    if case["name"] == "control_chars":
        # TF-Text's older tokenizer keeps invisible characters inside words,
        # this one drops them as BERT's does, but still splits at NUL and DEL.
        assert words(golden, ids) == "a b c d e ##f ##gh i j"
        return
    assert words(golden, ids) == case["tokens"]
    if "offsets" in case:
        assert np.stack([starts, ends], 1).tolist() == case["offsets"]


@pytest.mark.parametrize(
    "case", GOLDEN["blocks"], ids=lambda c: str(c["block_length"])
)
def test_blocks_equal_the_official_ones(golden, case):
    featurizer = with_lengths(golden, block_length=case["block_length"])
    features = featurizer.blocks(
        [document["title"] for document in GOLDEN["documents"]],
        [document["text"] for document in GOLDEN["documents"]],
    )
    assert features["token_ids"].shape[1] == case["block_length"]
    assert read_rows(featurizer, features) == case["rows"]


@pytest.mark.parametrize(
    "case", GOLDEN["reader_inputs"], ids=lambda c: c["name"]
)
def test_joint_layout_equals_the_official_one(case):
    # Word "n" has id n, as in the official test vectors.
    numbers = {i: str(i) for i in range(1, 101)}
    numbers |= {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]"}
    featurizer = Featurizer(
        [numbers[i] for i in range(103)] + ["[MASK]"],
        query_length=max(3, len(case["question"]) + 2),
        joint_length=case["max_sequence_len"],
        joint_title=False,
    )
    question, *blocks = (
        " ".join(map(str, ids)) for ids in [case["question"], *case["blocks"]]
    )
    features = featurizer.joint(
        [question] * len(blocks), [""] * len(blocks), blocks
    )
    for ours, theirs in (
        ("token_ids", "token_ids"),
        ("padding_mask", "mask"),
        ("segment_ids", "segment_ids"),
        ("block_mask", "block_mask"),
    ):
        assert features[ours].numpy().tolist() == case[theirs], ours


@pytest.mark.parametrize(
    "case", GOLDEN["reads"], ids=lambda c: str(c["joint_length"])
)
def test_joint_inputs_equal_the_official_ones(golden, case):
    featurizer = with_lengths(
        golden,
        query_length=32,
        joint_length=case["joint_length"],
        joint_title=False,
    )
    blocks = GOLDEN["read_blocks"]
    features = featurizer.joint(
        [case["question"]] * len(blocks), ["unread"] * len(blocks), blocks
    )
    assert read_rows(featurizer, features) == case["rows"]


# Layout.


def test_question_layout(featurizer):
    features = with_lengths(featurizer, query_length=8).questions(
        ["Who is it?", ""]
    )
    assert read_rows(featurizer, features) == [
        {"tokens": "[CLS] who is it ? [SEP]", "num_first_segment": 6},
        {"tokens": "[CLS] [SEP]", "num_first_segment": 2},
    ]
    for value in features.values():
        assert value.dtype == tf.int32
        assert value.shape == (2, 8)


def test_question_over_the_limit_is_cut_at_the_end(featurizer):
    short = with_lengths(featurizer, query_length=5)
    (row,) = read_rows(short, short.questions(["who was he and where"]))
    assert row["tokens"] == "[CLS] who was he [SEP]"


def test_null_block(featurizer):
    features = featurizer.blocks([""], [""])
    assert read_rows(featurizer, features) == [
        {"tokens": "[CLS] [SEP] [SEP]", "num_first_segment": 2}
    ]
    assert features["segment_ids"][0, :4].numpy().tolist() == [0, 0, 1, 0]


def test_block_follows_its_title(featurizer):
    features = featurizer.blocks(["The war"], ["It was long."])
    assert read_rows(featurizer, features) == [
        {
            "tokens": "[CLS] the war [SEP] it was long . [SEP]",
            "num_first_segment": 4,
        }
    ]


def test_long_title_leaves_both_separators(featurizer):
    short = with_lengths(featurizer, block_length=8)
    (row,) = read_rows(short, short.blocks(["the " * 9], ["it was long"]))
    assert row["tokens"] == "[CLS] the the the the the [SEP] [SEP]"


def test_block_features_of_known_wordpieces(featurizer):
    tokens = [featurizer.tokenize(texts) for texts in (TITLES, TEXTS)]
    title_ids, block_ids = (
        tf.RaggedTensor.from_row_splits(part.ids, part.row_splits)
        for part in tokens
    )
    assert_equal_features(
        featurizer.block_features(title_ids, block_ids),
        featurizer.blocks(TITLES, TEXTS),
    )


def test_joint_title_stands_between_question_and_block(featurizer):
    arguments = (["Who is it?"], ["The war"], ["It was long."])
    (row,) = read_rows(featurizer, featurizer.joint(*arguments))
    assert row == {
        "tokens": "[CLS] who is it ? [SEP] the war [SEP] it was long . [SEP]",
        "num_first_segment": 6,
        "block": [9, 13],
    }
    untitled = with_lengths(featurizer, joint_title=False)
    (row,) = read_rows(untitled, untitled.joint(*arguments))
    assert row["tokens"] == "[CLS] who is it ? [SEP] it was long . [SEP]"


def test_joint_cuts_question_and_title_so_that_a_block_fits(featurizer):
    short = with_lengths(featurizer, query_length=4, joint_length=39)
    (row,) = read_rows(
        short, short.joint(["who " * 9], ["the " * 99], ["it was long"])
    )
    assert row["tokens"] == (
        "[CLS] who who [SEP] " + "the " * 32 + "[SEP] it [SEP]"
    )
    assert row["block"] == [37, 38]


def test_joint_offsets_are_slices_of_the_block(featurizer):
    texts = ["The café — ½ of 東京.", "Ｗho? 한국 it is"]
    features = featurizer.joint(["Is it?"] * 2, ["It"] * 2, texts)
    for i, text in enumerate(texts):
        row = {name: value[i].numpy() for name, value in features.items()}
        _, starts, ends = featurizer.tokenize([text]).row(0)
        inside = row["block_mask"].astype(bool)
        assert row["starts"][inside].tolist() == starts.tolist()
        assert row["ends"][inside].tolist() == ends.tolist()
        assert not row["starts"][~inside].any()
        assert not row["ends"][~inside].any()


# One result on every road.


@pytest.mark.parametrize("method", ["questions", "blocks", "joint"])
def test_features_are_the_same_on_every_road(featurizer, method):
    columns = {
        "questions": (QUESTIONS,),
        "blocks": (TITLES, TEXTS),
        "joint": (QUESTIONS, TITLES, TEXTS),
    }[method]
    featurize = getattr(featurizer, method)
    direct = featurize(*columns)

    one_by_one = [
        featurize(*([x] for x in row)) for row in zip(*columns, strict=True)
    ]
    assert_equal_features(
        direct, tf.nest.map_structure(lambda *x: tf.concat(x, 0), *one_by_one)
    )
    assert_equal_features(
        direct, tf.function(featurize)(*map(tf.constant, columns))
    )

    dataset = tf.data.Dataset.from_tensor_slices(columns)
    batched = dataset.batch(2).map(featurize).unbatch().batch(3)
    assert_equal_features(direct, batched.get_single_element())
    unbatched = dataset.map(
        lambda *row: tf.nest.map_structure(
            lambda value: value[0], featurize(*(x[None] for x in row))
        )
    )
    assert_equal_features(direct, unbatched.batch(3).get_single_element())


def test_features_survive_a_saved_model(featurizer, tmp_path):
    module = tf.Module()
    module.joint = tf.function(
        featurizer.joint,
        input_signature=[tf.TensorSpec([None], tf.string)] * 3,
    )
    tf.saved_model.save(module, str(tmp_path))
    arguments = [tf.constant(x) for x in (QUESTIONS, TITLES, TEXTS)]
    assert_equal_features(
        tf.saved_model.load(str(tmp_path)).joint(*arguments),
        featurizer.joint(QUESTIONS, TITLES, TEXTS),
    )


def test_empty_batch(featurizer):
    tokens = featurizer.tokenize([])
    assert (len(tokens.ids), tokens.row_splits.tolist()) == (0, [0])
    assert featurizer.questions([])["token_ids"].shape == (0, 64)
    assert featurizer.blocks([], [])["token_ids"].shape == (0, 288)
    assert featurizer.joint([], [], [])["starts"].shape == (0, 320)


def test_texts_may_come_in_any_sequence(featurizer):
    expected = featurizer.questions(QUESTIONS)
    for texts in (
        tuple(QUESTIONS),
        iter(QUESTIONS),
        np.array(QUESTIONS),
        np.array(QUESTIONS, object),
        tf.constant(QUESTIONS),
    ):
        assert_equal_features(featurizer.questions(texts), expected)


# Text as it comes.


def test_special_words_are_plain_text(featurizer):
    text = "[CLS] [SEP] [MASK] [PAD] [UNK]"
    special = {featurizer.vocabulary.index(word) for word in SPECIAL}
    special -= {featurizer.unk_id}
    ids, _, _ = featurizer.tokenize([text]).row(0)
    assert not special & set(ids.tolist())
    features = featurizer.questions([text])
    row = features["token_ids"][0, : len(ids) + 2].numpy()
    assert row[1:-1].tolist() == ids.tolist()


def assert_offsets_are_slices(text, row):
    ids, starts, ends = row
    raw = text.encode("utf-8", "replace")
    assert len(ids) == len(starts) == len(ends)
    assert (0 <= starts).all()
    assert (starts < ends).all()
    assert (ends <= len(raw)).all()
    assert (np.diff(starts) >= 0).all()
    assert (np.diff(ends) >= 0).all()
    # Every span decodes if every start and end is between two characters.
    for start, end in zip(starts, ends, strict=True):
        raw[:start].decode()
        raw[start:end].decode()
        raw[end:].decode()


awkward_text = st.lists(
    st.one_of(
        st.text(),
        st.sampled_from(
            [
                *("é", "e\u0301", "ñ", "İstanbul", "Straße", "ﬁnance"),
                *("½", "…", "™", "℃", "Ⅷ", "ŉ", "①", "µ", "ǅ"),
                *(
                    "東京",
                    "タワー",
                    "ガ",
                    "カ\u3099",
                    "Ｆｕｌｌ",
                    "ﾊﾟ",
                    "㍿",
                    "豈",
                ),
                *("한국", "각", "ᄀ", "ᅡ", "ᆨ", "กำ", "क्षि", "ཀྵ", "ﷺ"),
                *("🍕", "👩\u200d👩\u200d👧", "❤\ufe0f", "🇫🇷", "𝔘", "𝟙"),
                *("\u0301", "\u0345", "\u200f", "\u202e", "\u200b", "\ufeff"),
                *("\0", "\x7f", "\x85", "\xa0", "\u2028", "\r\n", "\t", " "),
                *("the", "1815", "##s", "[SEP]", "x" * 300, "-", "'"),
            ]
        ),
    ),
    max_size=8,
).map("".join)


@settings(deadline=None)
@given(texts=st.lists(awkward_text, min_size=1, max_size=8))
def test_every_wordpiece_is_a_slice_of_the_text(featurizer, texts):
    tokens = featurizer.tokenize(texts)
    assert len(tokens.row_splits) == len(texts) + 1
    for i, text in enumerate(texts):
        assert_offsets_are_slices(text, tokens.row(i))


@settings(deadline=None)
@given(texts=st.lists(awkward_text, min_size=2, max_size=4))
def test_neighbours_in_a_batch_change_nothing(featurizer, texts):
    together = featurizer.tokenize(texts)
    for i, text in enumerate(texts):
        alone = featurizer.tokenize([text]).row(0)
        for one, other in zip(together.row(i), alone, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.large
def test_every_character_is_a_slice_of_the_text(featurizer):
    for pattern in ("{}", "a{}b", "{}\u0301", "e\u0301{}"):
        for first in range(0, 0x110000, 0x4000):
            texts = [
                pattern.format(chr(code))
                for code in range(first, first + 0x4000)
            ]
            tokens = featurizer.tokenize(texts)
            for i, text in enumerate(texts):
                assert_offsets_are_slices(text, tokens.row(i))


def test_wordpieces_of_one_character_share_its_bytes(golden):
    tokens = golden.tokenize(["x ½"])
    assert words(golden, tokens.ids) == "x 1 ##⁄ ##2"
    assert tokens.starts.tolist() == [0, 2, 2, 2]
    assert tokens.ends.tolist() == [1, 4, 4, 4]


def test_lone_surrogates_count_as_question_marks(featurizer):
    lone, marked = (
        featurizer.tokenize([text]) for text in ("who \ud800 is", "who ? is")
    )
    for one, other in zip(lone, marked, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(deadline=None)
@given(raw=st.binary(max_size=12))
def test_bytes_that_are_no_text_stay_within_bounds(featurizer, raw):
    features = featurizer.joint(
        *(tf.constant([x]) for x in (raw, raw, b"it " + raw))
    )
    inside = features["block_mask"].numpy() == 1
    assert features["starts"].numpy().min() >= 0
    assert (features["ends"].numpy()[inside] <= len(raw) + 3).all()


def test_lowercase_also_strips_accents():
    vocabulary = [*SPECIAL, "cafe", "Café"]
    lower = Featurizer(vocabulary).tokenize(["Café"])
    cased = Featurizer(vocabulary, lowercase=False).tokenize(["Café"])
    assert (lower.ids.tolist(), cased.ids.tolist()) == ([5], [6])


# Identity.


def test_fingerprint_is_of_what_decides_the_ids(featurizer):
    words = featurizer.vocabulary
    assert len(featurizer.fingerprint) == 64
    assert featurizer.fingerprint == Featurizer(words).fingerprint
    assert (
        featurizer.fingerprint
        == Featurizer(words, query_length=9, block_length=9).fingerprint
    )
    for other in (
        Featurizer(words, lowercase=False),
        Featurizer(words[:-1]),
        Featurizer([*words[:-2], words[-1], words[-2]]),
    ):
        assert featurizer.fingerprint != other.fingerprint


def test_copy_with_other_lengths_has_the_same_wordpieces(featurizer):
    shorter = featurizer.with_lengths(query_length=6, block_length=10)
    assert (shorter.query_length, shorter.block_length) == (6, 10)
    assert shorter.fingerprint == featurizer.fingerprint
    assert featurizer.with_lengths(query_length=None) is featurizer
    ids = shorter.blocks(TITLES, TEXTS)["token_ids"]
    assert ids.shape == (3, 10)
    full = featurizer.blocks(TITLES, TEXTS)["token_ids"]
    np.testing.assert_array_equal(ids[:, :9], full[:, :9])


def test_config_round_trip(featurizer):
    options = {
        "lowercase": False,
        "query_length": 9,
        "block_length": 10,
        "joint_length": 50,
        "joint_title": False,
        "query_prompt": "the ",
        "block_prompt": "a ",
    }
    copy = Featurizer(featurizer.vocabulary, **options)
    assert copy.get_config() == options
    assert (
        Featurizer(copy.vocabulary, **copy.get_config()).get_config() == options
    )


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_from_file_reads_one_wordpiece_a_line(tmp_path, ending, last):
    vocabulary = [*SPECIAL, "ｗ", "##\u2028", "é"]
    path = tmp_path / "vocab.txt"
    text = ending.join(vocabulary) + last.replace("\n", ending)
    path.write_bytes(text.encode())
    featurizer = Featurizer.from_file(path, query_length=7)
    assert featurizer.vocabulary == tuple(vocabulary)
    assert featurizer.vocabulary_size == 8
    assert featurizer.query_length == 7
    assert featurizer.mask_id == 4


def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL, "the"]), encoding="utf-8-sig")
    assert Featurizer.from_file(path).vocabulary == (*SPECIAL, "the")


def test_the_last_place_of_a_repeated_word_counts(tmp_path, caplog):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL, "the", "cat", "the"]))
    featurizer = Featurizer.from_file(path)
    assert "repeats 1 words" in caplog.text
    assert featurizer.tokenize(["the cat"]).ids.tolist() == [7, 6]
    assert featurizer.vocabulary_size == 8


@pytest.mark.parametrize("letter", ["a", "é", "ก", "😀"])
@pytest.mark.parametrize("size", [100, 101])
def test_words_of_over_100_characters_are_unknown(letter, size):
    words = [*SPECIAL, letter, f"##{letter}", "x"]
    featurizer = Featurizer(words, lowercase=False)
    text = f"x {letter * size} x"
    ids, starts, ends = featurizer.tokenize([text, "x"]).row(0)
    if size == 100:
        assert ids.tolist() == [7, 5, *[6] * 99, 7]
    else:
        assert ids.tolist() == [7, featurizer.unk_id, 7]
        end = 2 + len(letter.encode()) * size
        assert (starts[1], ends[1]) == (2, end)
    assert featurizer.tokenize([text, "x"]).row(1)[0].tolist() == [7]


@pytest.mark.parametrize(
    "sign",
    ["\u200b", "\xad", "\u200e", "\u202c", "\ufeff", "\x00", "\u2060\u200d"],
)
@pytest.mark.parametrize("after", ["", " ", ".", " and"])
def test_invisible_signs_after_a_word_are_no_part_of_it(sign, after):
    featurizer = Featurizer([*SPECIAL, "emma", ".", "and"])
    text = f"{sign}Emma{sign}{after}"
    starts, ends = featurizer.tokenize(["Emma", text]).row(1)[1:]
    assert text.encode()[starts[0] : ends[0]] == b"Emma"
    if after.strip():
        assert text.encode()[starts[1] : ends[1]].decode() == after.strip()
    block = featurizer.joint(["and"], [""], [text])
    place = int(np.argmax(block["block_mask"][0]))
    start, end = (int(block[name][0, place]) for name in ("starts", "ends"))
    assert text.encode()[start:end] == b"Emma"


def test_accents_after_a_letter_are_part_of_it():
    featurizer = Featurizer([*SPECIAL, "cafe", "x"])
    text = "x\u200b cafe\u0301\u200b x"
    _, starts, ends = featurizer.tokenize([text, "x"]).row(0)
    found = [
        text.encode()[start:end].decode()
        for start, end in zip(starts, ends, strict=True)
    ]
    assert found == ["x", "cafe\u0301", "x"]


def test_prompts_stand_before_questions_and_titles():
    words = [*SPECIAL, "query", "passage", ":", "emma", "novel"]
    featurizer = Featurizer(
        words, query_prompt="query: ", block_prompt="passage: ", query_length=6
    )
    query, passage, colon, emma, novel = range(5, 10)
    questions = featurizer.cut_questions(["Emma", "Emma novel"])
    assert questions["token_ids"].numpy().tolist() == [
        [2, query, colon, emma, 3, 0],
        [2, query, colon, emma, novel, 3],
    ]
    blocks = featurizer.blocks(["Emma", ""], ["novel", "novel"])["token_ids"]
    assert blocks[:, :7].numpy().tolist() == [
        [2, passage, colon, emma, 3, novel, 3],
        [2, passage, colon, 3, novel, 3, 0],
    ]
    joint = featurizer.joint(["Emma"], ["Emma"], ["novel"])["token_ids"]
    assert joint[0, :7].numpy().tolist() == [2, emma, 3, emma, 3, novel, 3]
    config = featurizer.get_config()
    assert (config["query_prompt"], config["block_prompt"]) == (
        "query: ",
        "passage: ",
    )


# Mistakes.


def test_vocabulary_without_special_tokens_is_refused():
    with pytest.raises(ValueError, match=r"4 words without \[UNK\], \[MASK\]"):
        Featurizer(["[PAD]", "[CLS]", "[SEP]", "the"])


def test_vocabulary_with_a_word_twice_is_refused():
    with pytest.raises(ValueError, match="7 words, 6 of them distinct"):
        Featurizer([*SPECIAL, "the", "the"])


@pytest.mark.parametrize(
    ("least", "lengths"),
    [
        (353, {"block_length": 3}),
        (37, {"query_length": 2}),
        (354, {"query_length": 64, "joint_length": 98}),
        (354, {"query_length": 64, "joint_length": 65, "joint_title": False}),
    ],
)
def test_lengths_without_room_for_text_are_refused(least, lengths):
    with pytest.raises(ValueError, match="Raise the one that is too small"):
        Featurizer([*SPECIAL, "the"], **lengths)


@pytest.mark.parametrize(
    "texts",
    [
        "Who wrote Emma?",
        b"Who wrote Emma?",
        tf.constant("Who wrote Emma?"),
        tf.constant([["Who wrote Emma?"]]),
        tf.constant([1]),
        [b"Who wrote Emma?"],
        [["Who wrote Emma?"]],
        [None],
    ],
    ids=repr,
)
def test_texts_that_are_no_batch_of_strings_are_refused(featurizer, texts):
    message = "`texts` must be a batch of strings. Received: .*in a list"
    with pytest.raises(TypeError, match=message):
        featurizer.tokenize(texts)
    with pytest.raises(TypeError, match=message):
        featurizer.questions(texts)


def test_scalar_of_unknown_rank_is_refused(featurizer):
    # It would end the process inside the tokenizer.
    graph = tf.function(featurizer.questions, [tf.TensorSpec(None, tf.string)])
    assert graph(tf.constant(["who"]))["token_ids"].shape == (1, 64)
    with pytest.raises(tf.errors.InvalidArgumentError, match="Shape of tensor"):
        graph(tf.constant("who"))


def test_columns_of_different_lengths_are_refused(featurizer):
    with pytest.raises(ValueError, match="`titles`, `texts` .* Received: 1, 2"):
        featurizer.blocks(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="`questions`, .* Received: 2, 1, 2"):
        featurizer.joint(["a", "b"], ["a"], ["a", "b"])


def test_cut_questions_tells_what_was_cut(short_featurizer):
    room = short_featurizer.query_length - 2
    texts = ["", "who " * room, "who " * (room + 1)]
    features = short_featurizer.cut_questions(texts)
    assert features.pop("truncated").numpy().tolist() == [False, False, True]
    for name, values in short_featurizer.questions(texts).items():
        np.testing.assert_array_equal(features.pop(name), values)
    assert not features


def test_texts_of_a_megabyte_are_cut_before_they_are_tokenized(golden):
    """Tokenizing one takes seconds, and a server does it for every block."""

    class Watching(Featurizer):
        def _tokenize(self, texts):
            most = 256 * self.joint_length
            tf.debugging.assert_less_equal(tf.strings.length(texts), most)
            return super()._tokenize(texts)

    featurizer = Watching(golden.vocabulary)
    long, short = ("who " * count for count in (250_000, 1_000))
    question = featurizer.cut_questions([long])
    assert question["truncated"].numpy().tolist() == [True]
    for got, want in (
        (question, featurizer.cut_questions([short])),
        (
            featurizer.joint([long], [long], [long]),
            featurizer.joint([short], [short], [short]),
        ),
        (
            featurizer.blocks([long], [long]),
            featurizer.blocks([short], [short]),
        ),
    ):
        for name, value in want.items():
            np.testing.assert_array_equal(got[name], value)


def test_what_is_cut_by_characters_is_told(golden):
    spaces = " " * (256 * golden.query_length)
    features = golden.cut_questions([spaces, spaces + "who", "½" * 9])
    assert features["truncated"].numpy().tolist() == [False, True, False]
