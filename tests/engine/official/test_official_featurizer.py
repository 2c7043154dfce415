import importlib.resources
import json
import pathlib

import pytest

from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.official.official_featurizer import (
    OfficialBlock,
    OfficialFeaturizer,
)

GOLDEN = json.loads(
    (
        pathlib.Path(__file__).parents[2]
        / "fixtures/golden/official_featurizer.json"
    ).read_text("utf-8")
)


@pytest.fixture(scope="module")
def uncased():
    path = importlib.resources.files("realm_tf.data.text") / "bert_uncased.txt"
    return Featurizer.from_file(path)


@pytest.fixture(scope="module")
def official(uncased):
    return OfficialFeaturizer(uncased, 320)


@pytest.mark.parametrize("case", GOLDEN["texts"], ids=lambda c: c["name"])
def test_wordpieces_are_those_of_the_official_code(official, case):
    assert official.question_ids(case["text"]) == case["tf_text_ids"]
    block = official.block(case["text"])
    assert block.words == case["block_orig_tokens"]
    assert block.token_ids == case["block_wordpiece_ids"]
    assert block.token_map == case["block_token_map"]


@pytest.mark.parametrize("case", GOLDEN["reads"], ids=lambda c: c["question"])
def test_inputs_of_the_reader_are_those_of_the_official_code(uncased, case):
    official = OfficialFeaturizer(uncased, case["reader_seq_len"])
    joint = official.joint(
        official.question_ids(case["question"]),
        [official.block(text) for text in case["blocks"]],
    )
    for i, row in enumerate(case["rows"]):
        length = len(row["token_ids"])
        assert joint["padding_mask"][i].tolist() == [1] * length + [0] * (
            case["reader_seq_len"] - length
        )
        for name, values in row.items():
            assert joint[name][i, :length].tolist() == values, name


@pytest.mark.parametrize(
    "case", GOLDEN["reader_inputs"], ids=lambda c: c["name"]
)
def test_inputs_of_the_op_are_laid_out_as_the_official_code_does(uncased, case):
    official = OfficialFeaturizer(uncased, case["max_sequence_len"])
    blocks = [
        OfficialBlock([], ids, token_map)
        for ids, token_map in zip(
            case["blocks"], case["block_token_map"], strict=True
        )
    ]
    joint = official.joint(case["question"], blocks)
    joint["mask"] = joint.pop("padding_mask")
    for name, values in joint.items():
        assert values.tolist() == case[name], name


def test_only_the_block_is_cut(uncased):
    official = OfficialFeaturizer(uncased, 10)
    block = OfficialBlock(["a"], [7] * 20, [0] * 20)
    joint = official.joint([5, 6], [block])
    row = [101, 5, 6, 102, 7, 7, 7, 7, 7, 102]
    assert joint["token_ids"].tolist() == [row]
    joint = official.joint([5] * 50, [block])
    assert joint["token_ids"].tolist() == [[101, *[5] * 7, 102, 102]]
    assert not joint["block_mask"].any()


def test_questions_are_padded_together(official):
    features = official.questions(["who", "who is emma"])
    assert features["padding_mask"].numpy().sum(axis=1).tolist() == [3, 5]
    assert features["token_ids"].shape == (2, 5)
    assert not features["segment_ids"].numpy().any()


def test_an_empty_block_has_no_words(official):
    assert official.block("") == OfficialBlock([], [], [])
