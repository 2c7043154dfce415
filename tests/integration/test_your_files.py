"""What `docs/your_files.md` says of files and settings holds."""

import json
import pathlib
import re

import pytest

from realm_tf.checkpoints.sentence_modules import read_modules
from realm_tf.checkpoints.vocabularies import read_tokenizer
from realm_tf.data.corpus.article_formats import FORMATS
from realm_tf.data.corpus.articles import ArticleFiles
from realm_tf.data.corpus.wikitext import strip_wikitext
from realm_tf.data.questions.question_sets import read_question_set
from realm_tf.errors import BadRecordError, CheckpointError

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "your_files.md"
ROW = re.compile(r"^\| `([^`]+)` \| (read|left out|refused) \|", re.MULTILINE)
RECORD = '{"text": "A text."}'
MANIFEST = {"kind": "corpus", "format_version": 1, "library_version": "1"}
FILES = {
    "passages.jsonl": f"{RECORD}\n",
    "evidence.jsonl": '{"body": "A text."}',
    "array.json": f"[{RECORD}]",
    "pretty.json": '{\n "text": "A text."\n}',
    "psgs.tsv": "id\ttext\ttitle\n1\tA text.\ttitle\n",
    "table.csv": 'text\n"A text."\n',
    "wiki_00": '<doc id="1" url="" title="Emma">\nEmma\n\nA text.\n</doc>\n',
    "dump.xml": (
        "<mediawiki><page><title>Emma</title><id>1</id><revision>"
        "<text>A text.</text></revision></page></mediawiki>"
    ),
    "figures.csv": "year,price\n1815,2\n",
    "settings.json": '{"name": "x"}',
    "package.json": RECORD,
    "queries.jsonl": RECORD,
    "qrels": {"test.tsv": "query-id\tcorpus-id\tscore\n1\t2\t1\n"},
    "corpus": {
        "manifest.json": json.dumps(MANIFEST),
        "updates.jsonl": RECORD,
    },
    "damaged.jsonl": "{",
}


def rows(heading, is_template=False):
    section = PAGE.read_text("utf-8").split(f"\n## {heading}\n")[1]
    found = ROW.findall(section.split("\n## ")[0])
    return [row for row in found if row[0].startswith("{{") == is_template]


def test_every_format_has_a_row(tmp_path):
    names = [name for name, outcome in rows("Documents") if outcome == "read"]
    for name in names:
        (tmp_path / name).write_text(FILES.get(name, "A text."))
    found = {format for _, format in ArticleFiles(tmp_path).files}
    assert found == set(FORMATS)


@pytest.mark.parametrize(("name", "outcome"), rows("Documents"))
def test_documents_are_as_the_page_says(tmp_path, name, outcome):
    content = FILES.get(name, "A text.")
    outside = tmp_path / "outside.txt"
    outside.write_text("A text.")
    tmp_path /= "folder"
    tmp_path.mkdir()
    (tmp_path / "good.txt").write_text("Another text.")
    if isinstance(content, dict):
        (tmp_path / name).mkdir()
        for inner, text in content.items():
            (tmp_path / name / inner).write_text(text)
    elif name == "link.txt":
        (tmp_path / name).symlink_to(outside)
    else:
        (tmp_path / name).write_text(content)
    source = ArticleFiles(tmp_path)
    if outcome == "refused":
        with pytest.raises(BadRecordError, match=f"{name}, line 1"):
            list(source)
        return
    texts = [item.finished().text.strip() for item in source]
    others = [path.name for path, _ in source.files_left_out]
    assert others == ([name] if outcome == "left out" else [])
    assert sorted(texts) == ["A text."] * (outcome == "read") + [
        "Another text."
    ]


@pytest.mark.parametrize(
    ("template", "outcome"), rows("Documents", is_template=True)
)
def test_templates_are_as_the_page_says(template, outcome):
    text = strip_wikitext("It is " + template.replace("\\|", "|"))
    assert (text != "It is") == (outcome == "read")


SQUAD = {"paragraphs": [{"qas": [{"id": "1", "question": "q", "answers": []}]}]}
TRIVIA = {"QuestionId": "1", "Question": "q"}
QUESTION = {"question": "q", "answers": ["a"]}
QUESTIONS = {
    "questions.jsonl": QUESTION,
    "NQ-open.dev.jsonl": {"question": "q", "answer": ["a"]},
    "nq-test.qa.csv": "q\t['a']\n",
    "biencoder-nq-dev.json": [QUESTION | {"positive_ctxs": []}],
    "squad.jsonl": {"question": "q", "answers": {"text": ["a"]}},
    "dev-v1.1.json": {"data": [SQUAD]},
    "triviaqa.jsonl": {"question": "q", "answer": {"value": "a"}},
    "unfiltered-web-dev.json": {
        "Data": [TRIVIA, TRIVIA | {"Answer": {"Value": "a"}}]
    },
    "webquestions.json": [
        {"utterance": "q", "targetValue": "(list (description a))"}
    ],
    "nfcorpus": {
        "queries.jsonl": '{"_id": 1, "text": "q"}',
        "qrels/test.tsv": "1\td\t1\n2\td\t1\n",
    },
    "unfiltered-web-test.json": {"Data": [TRIVIA]},
    "triviaqa-test.jsonl": {"question": "q", "answer": {"value": "<unk>"}},
    "questions.csv": "question,answer\nq,a\n",
    "hotpot.json": [{"question": "q", "answer": "a"}],
}


@pytest.mark.parametrize(("name", "outcome"), rows("Questions"))
def test_questions_are_as_the_page_says(tmp_path, name, outcome):
    content = QUESTIONS[name]
    path = tmp_path / name
    if name == "nfcorpus":
        (path / "qrels").mkdir(parents=True)
        for inner, text in content.items():
            (path / inner).write_text(text)
    else:
        is_text = isinstance(content, str)
        path.write_text(content if is_text else json.dumps(content))
    if outcome == "refused":
        with pytest.raises(ValueError, match=name):
            read_question_set(path)
    else:
        assert [q.question for q in read_question_set(path)] == ["q"]


def write_modules(folder, setting):
    key, value = setting.split(": ")
    kinds = ["Transformer", "Pooling"]
    kinds += [value] if key == "module" else []
    files = {
        "1_Pooling/config.json": {
            "pooling_mode": value if key == "pooling_mode" else "mean"
        },
        "2_Dense/config.json": {
            "out_features": 3,
            "activation_function": "torch.nn.modules.activation.Tanh",
        },
        "config_sentence_transformers.json": {
            "similarity_fn_name": value
            if key == "similarity_fn_name"
            else None,
            "prompts": {value: "a: "} if key == "prompts" else {},
        },
        "sentence_bert_config.json": {
            "max_seq_length": int(value) if key == "max_seq_length" else None
        },
        "modules.json": [
            {"idx": i, "path": f"{i}_{kind}" if i else "", "type": kind}
            for i, kind in enumerate(kinds)
        ],
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize(("setting", "outcome"), rows("Sentence encoders"))
def test_sentence_encoders_are_as_the_page_says(tmp_path, setting, outcome):
    write_modules(tmp_path, setting)
    value = setting.split(": ")[1]
    if outcome == "refused":
        with pytest.raises(CheckpointError, match=value):
            read_modules(tmp_path)
    else:
        read_modules(tmp_path)


@pytest.mark.parametrize(("setting", "outcome"), rows("Tokenizers"))
def test_tokenizers_are_as_the_page_says(tmp_path, setting, outcome):
    key, value = setting.split(": ")
    value = {"true": True, "false": False, "null": None}.get(value, value)
    value = [value] if key == "never_split" else value
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "emma"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    config = json.dumps({"do_lower_case": True} | {key: value})
    (tmp_path / "tokenizer_config.json").write_text(config)
    if outcome == "refused":
        with pytest.raises(CheckpointError, match=f"`{key}` must be"):
            read_tokenizer(tmp_path)
    else:
        assert read_tokenizer(tmp_path).lowercase
