"""The Python of tutorial and guides runs, with a tiny model."""

import json
import pathlib
import re
import subprocess

import pytest

from realm_tf.checkpoints import named_presets

DOCS = pathlib.Path(__file__).parents[2] / "docs"
# What takes hours, and what the tests take in its place.
SMALLER = {
    "TrainingOptions(num_steps=1000)": (
        "TrainingOptions(num_steps=2, log_every=1, checkpoint_every=2)"
    ),
    "InverseClozeOptions(batch_size=32)": "InverseClozeOptions(batch_size=4)",
    "tf.distribute.MirroredStrategy()": "given_strategy",
}


def code(page, language):
    text = (DOCS / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


@pytest.fixture
def files(make_qa, cities, city_questions, tmp_path, monkeypatch, registry):
    """A folder with models, documents and questions."""
    monkeypatch.chdir(tmp_path)
    named_presets._REGISTERED.clear()
    for name in ("realm_minilm_en", "model"):
        make_qa().save_to_preset(name)
    documents = [
        {"id": a.document_id, "title": a.title, "text": a.text} for a in cities
    ]
    questions = [
        {"question": q.question, "answers": list(q.answers)}
        for q in city_questions
    ]
    contents = {
        "documents": documents,
        "train": questions[:16],
        "dev": questions[16:24],
        "test": questions[24:],
    }
    for name, records in contents.items():
        lines = "".join(json.dumps(record) + "\n" for record in records)
        pathlib.Path(f"{name}.jsonl").write_text(lines)
    return tmp_path


def run(page, **names):
    """Runs the Python of a page, and returns its names."""
    source = "\n".join(code(page, "python"))
    for long, short in SMALLER.items():
        source = source.replace(long, short)
    exec(compile(source, page, "exec"), names)
    return names


def test_tutorial_runs(files, capsys):
    (notes,) = (text for text in code("tutorial.md", "bash") if "mkdir" in text)
    subprocess.run(["bash", "-euc", notes], check=True)
    names = run("tutorial.md")
    answer = names["answer"]
    assert answer.block.document_id.endswith(("library.txt", "bridge.txt"))
    assert answer.text == answer.block.text[answer.start : answer.end]
    preset = files / "my_preset"
    assert (preset / "corpus").is_dir() and (preset / "index").is_dir()
    assert answer.text in capsys.readouterr().out
    index = names["qa"].index
    assert index.num_blocks == index.corpus.num_blocks >= 2


def test_guide_to_beam_runs(files):
    names = run("guides/beam.md")
    assert names["index"].num_blocks == names["index"].corpus.num_blocks > 10


def test_guide_to_fine_tuning_runs(files):
    names = run("guides/finetune.md")
    assert names["history"].history["val_reader_loss"]
    assert (files / "better" / "corpus").is_dir()


def test_guide_to_several_devices_runs(files, strategy):
    source = "\n".join(code("guides/distribute.md", "python"))
    assert all(long in source for long in SMALLER)
    # A second strategy in the process would mix up collective operations.
    names = run("guides/distribute.md", given_strategy=strategy)
    assert names["strategy"].num_replicas_in_sync == 2
    assert (files / "ict" / "log.jsonl").is_file()


def trees():
    """Root of each folder of the page -> paths that it names."""
    found = {}
    for text in code("concepts/folders.md", "text"):
        root, *lines = text.splitlines()
        parents, paths = [root], []
        for line in lines:
            depth = (len(line) - len(line.lstrip())) // 2
            parents[depth:] = [line.split()[0]]
            paths.append("".join(parents[1:]))
        found[root.rstrip("/")] = paths
    return found


def test_folders_are_as_the_page_says(make_qa, city_corpus, tmp_path):
    qa = make_qa()
    qa.build_index(city_corpus, tmp_path / "index")
    qa.add_documents([{"id": "a", "title": "A", "text": "A new text."}])
    qa.save_to_preset(tmp_path / "preset", include_corpus=True)
    qa.export(tmp_path / "bundle")
    (tmp_path / "corpus").symlink_to(city_corpus.path)
    checked = 0
    for root, paths in trees().items():
        for path in paths if root != "training" else ():
            assert (tmp_path / root / path).exists(), (root, path)
            checked += 1
    assert checked == 30
    for folder in ("corpus", "preset"):  # and nothing else is there
        real = {path.name for path in (tmp_path / folder).iterdir()}
        assert real == {path.split("/")[0] for path in trees()[folder]}


@pytest.mark.large
def test_folder_of_a_training_is_as_the_page_says(
    make_qa, city_corpus, tmp_path
):
    make_qa().pretrain(
        city_corpus,
        tmp_path / "training",
        "masked_words",
        num_steps=2,
        batch_size=2,
        num_candidates=3,
        log_every=1,
        checkpoint_every=1,
        every_n_steps=1,
    )
    real = {path.name for path in (tmp_path / "training").iterdir()}
    assert {p.rstrip("/") for p in trees()["training"]} <= real
