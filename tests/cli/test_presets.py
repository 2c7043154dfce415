import json

import pytest

from realm_tf.checkpoints.named_presets import register_preset


@pytest.fixture
def finished(registry, tmp_path):
    (tmp_path / "weights").write_bytes(bytes(1_500_000))
    register_preset(
        "mine", "Cities.", tmp_path, licence="CC0-1.0", figures="F1 .5"
    )


def test_presets_are_listed_for_people_and_programs(finished, run):
    lines = run("presets", "--json").stdout.splitlines()
    assert {
        "name": "mine",
        "description": "Cities.",
        "megabytes": 1.5,
        "licence": "CC0-1.0",
        "figures": "F1 .5",
    } in [json.loads(line) for line in lines]
    text = run("presets").stdout
    assert "mine" in text and "CC0-1.0" in text and "F1 .5" in text


def test_a_name_stands_for_the_folder(fail, finished, tmp_path):
    message = fail("ask", "--preset", "mine", "Who?")
    assert str(tmp_path) in message  # which was found, and holds no preset
