import json
import shutil

import click.testing
import pytest

from realm_tf.cli.app import main

QUESTION = "Who wrote Emma?"

pytestmark = pytest.mark.usefixtures("kept_models")


def test_ask_answers_out_of_the_box(full_preset, run):
    text = run("ask", "--preset", full_preset, QUESTION).stdout
    assert text.startswith(QUESTION)
    assert "Blocks, with p(z|x)" in text


def test_ask_prints_json_for_programs(full_preset, run):
    content = run("ask", "--preset", full_preset, QUESTION, "--json").json
    assert content["question"] == QUESTION
    text = content["block"]["text"]
    assert text[content["start"] : content["end"]] == content["answer"]
    assert len(content["blocks"]) == 4
    assert len(content["alternatives"]) == 4
    assert 0 < content["probability"] <= 1


def test_ask_builds_the_index_of_a_corpus_once(corpus, preset, run, tmp_path):
    preset = shutil.copytree(preset, tmp_path / "preset")
    command = ("ask", "--preset", preset, "--corpus", corpus, QUESTION)
    first = run(*command, "--json").json
    (manifest,) = preset.glob("indexes/*/v000001/manifest.json")
    assert run(*command, "--json").json == first
    index = ("--index", manifest.parents[1])
    assert run(*command, *index, "--json").json == first


def test_ask_takes_several_questions(full_preset, run):
    questions = (QUESTION, "When was the war?")
    command = ("ask", "--preset", full_preset, *questions, "--json")
    lines = run(*command).stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    assert tuple(answer["question"] for answer in answers) == questions
    alone = run("ask", "--preset", full_preset, questions[1], "--json").json
    assert answers[1] == alone


def test_ask_reads_questions_from_the_input(full_preset, run):
    questions = [f"Who wrote book {i}?" for i in range(40)]
    stdin = "\n\n".join(questions)
    result = run("ask", "--preset", full_preset, "--json", stdin=stdin)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["question"] for answer in answers] == questions
    assert result.stderr == ""


def test_ask_answers_nothing_from_no_input(full_preset, run):
    assert run("ask", "--preset", full_preset, stdin="\n").stdout == ""


def test_lines_that_are_no_questions_are_named_and_left_out(full_preset):
    lines = ["\ufeffWho wrote Emma?", "", "?!", "When was the war?"]
    stdin = "\n".join(lines).encode() + b"\nWho wrote caf\xe9?\n"
    result = click.testing.CliRunner().invoke(
        main, ["ask", "--preset", str(full_preset), "--json"], input=stdin
    )
    assert result.exit_code == 1
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    questions = [answer["question"] for answer in answers]
    assert questions == ["Who wrote Emma?", "When was the war?"]
    assert "Line 3 is left out. A question must have" in result.stderr
    assert "Line 5 is left out. It is not UTF-8" in result.stderr
    assert "2 lines were no questions" in result.stderr


def test_ask_verifies_on_request(full_preset, fail, tmp_path):
    preset = shutil.copytree(full_preset, tmp_path / "preset")
    (file,) = preset.glob("index/v*/embeddings-*.npy")
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    message = fail("ask", "--preset", preset, QUESTION, "--verify")
    assert "must hold what its manifest" in message


def test_ask_passes_options_on(full_preset, run):
    command = ("ask", "--preset", full_preset, QUESTION, "--json")
    options = ("--num-read", 2, "--num-alternatives", 0, "--threshold", 1)
    answer = run(*command, *options, "--dtype", "mixed_bfloat16").json
    assert len(answer["blocks"]) == 2
    assert answer["alternatives"] == []
    assert answer["threshold"] == 1
    assert answer["found"] is False
    exact = run(*command, *options, "--dtype", "float32").json
    assert exact["probability"] != answer["probability"]


@pytest.mark.parametrize("question", ["", "  ", "?!", "🙂"])
def test_ask_refuses_what_is_no_question(fail, full_preset, question):
    message = fail("ask", "--preset", full_preset, question)
    assert "A question must have a letter or a digit" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--num-read", 0), "0 is not in the range x>=1"),
        (("--num-read", "five"), "'five' is not a valid integer"),
        (("--num-alternatives", -1), "-1 is not in the range"),
        (("--threshold", 1.5), "1.5 is not in the range"),
        (("--dtype", "float8"), "'float8' is not one of"),
        (("--preset", "nowhere"), "'nowhere' does not exist"),
    ],
)
def test_ask_refuses_wrong_options(fail, full_preset, options, message):
    command = ("ask", "--preset", full_preset, QUESTION)
    assert message in fail(*command, *options, code=2)


def test_ask_needs_a_corpus(fail, preset):
    message = fail("ask", "--preset", preset, QUESTION, code=2)
    assert "--corpus must be given" in message


def test_ask_refuses_another_folder(fail, tmp_path):
    message = fail("ask", "--preset", tmp_path, QUESTION)
    assert "must be the name of a preset, or the path" in message
    assert str(tmp_path) in message.replace("\n", "")


def test_ask_neutralises_what_documents_hold(preset, run, tiny_bert, tmp_path):
    # H9
    evil = {
        "text": "Emma \x1b]0;owned\x07 is \x9b2J a novel.",
        "title": "\x1b[",
    }
    source = tmp_path / "evil.jsonl"
    source.write_text(json.dumps(evil))
    folder = tmp_path / "corpus"
    command = ("corpus", "build", source, "--tokenizer", tiny_bert)
    run(*command, "-o", folder)
    preset = shutil.copytree(preset, tmp_path / "preset")
    command = (
        "ask",
        "--preset",
        preset,
        "--corpus",
        folder,
        "What\x1b[ is it?",
    )
    for options in ((), ("--json",)):
        printed = run(*command, *options).stdout
        assert not {"\x1b", "\x07", "\x9b"} & set(printed)
