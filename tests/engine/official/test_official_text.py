import json
import pathlib

import pytest

from realm_tf.engine.official.official_text import basic_tokens, final_text

GOLDEN = json.loads(
    (
        pathlib.Path(__file__).parents[2]
        / "fixtures/golden/official_evaluation.json"
    ).read_text("utf-8")
)["final_text"]


@pytest.mark.parametrize("case", GOLDEN, ids=range(len(GOLDEN)))
def test_answers_are_projected_as_the_official_code_does(case):
    found = final_text(
        case["pred_text"],
        case["orig_text"],
        lowercase=case["do_lower_case"],
    )
    assert found == case["final_text"]


def test_cased_tokens_keep_capitals_and_accents():
    assert basic_tokens("Émile 東京", lowercase=False) == ["Émile", "東", "京"]
    assert basic_tokens("Émile\x00\u200b") == ["emile"]


def test_only_control_and_format_characters_are_removed():
    assert basic_tokens("a\x07b\u200bc\ue000d\u0378e") == ["abc\ue000d\u0378e"]
