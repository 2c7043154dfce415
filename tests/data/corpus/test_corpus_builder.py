import contextlib
import errno
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from realm_tf.data.corpus import corpus_builder, corpus_parts
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.text.answer_normalization import normalize_answer
from realm_tf.errors import BadRecordError, FolderError

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures"
OPTIONS = {"max_wordpieces": 32, "num_processes": 1}

ONE_BUILD = """
import locale, sys
from realm_tf.data.text.answer_normalization import normalize_answer
from realm_tf.data.corpus.corpus_builder import build_corpus
from realm_tf.data.text.featurizer import Featurizer

try:
    locale.setlocale(locale.LC_ALL, "")
except locale.Error:
    pass  # it is not installed here, and cannot do harm
source, vocabulary, folder = sys.argv[1:]
corpus = build_corpus(source, folder, Featurizer.from_file(vocabulary))
print(corpus.fingerprint, ascii(normalize_answer(corpus[0].text)))
"""

# Forks after the slow import, before TensorFlow starts any thread.
KILLED_BUILDS = """
import os, pathlib, signal, sys
from realm_tf._progress import no_progress
from realm_tf.data.corpus import corpus_builder
from realm_tf.data.corpus import corpus_parts
from realm_tf.data.corpus import corpus_writer
from realm_tf.data.corpus import work_folder
from realm_tf.data.text.featurizer import Featurizer

def die(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)

def die_after_five_parts(stage, done, total, figures):
    if figures["articles"] >= 5:
        die()

source, vocabulary, folder = sys.argv[1:]
corpus_parts.PART_CHARACTERS = 1
points = {
    "first part": (corpus_parts, "replacing"),
    "sixth part": (None, None),
    "blocks": (corpus_writer.array_record_module.ArrayRecordWriter, "close"),
    "arrays": (corpus_writer, "_write_npy"),
    "manifest": (corpus_writer._manifest, "publish"),
    "cleaning": (work_folder.shutil, "rmtree"),
}
for name, (place, function) in points.items():
    path = pathlib.Path(folder, name, "corpus")
    path.parent.mkdir()
    if os.fork() == 0:
        progress = no_progress if place else die_after_five_parts
        if place:
            setattr(place, function, die)
        featurizer = Featurizer.from_file(vocabulary)
        corpus_builder.build_corpus(
            source, path, featurizer, max_wordpieces=32, progress=progress
        )
        os._exit(0)
    _, status = os.wait()
    print(name, os.WTERMSIG(status), path.exists(), sep=",")
"""


@contextlib.contextmanager
def files_up_to(num_bytes):
    """Longer files fail to be written, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def written(monkeypatch):
    """Names of the parts that are written."""
    names = []
    write_part = corpus_parts.write_part

    def record(task, *args):
        names.append(task.path.name)
        return write_part(task, *args)

    monkeypatch.setattr(
        "realm_tf.data.corpus.corpus_workers.write_part", record
    )
    return names


def test_files_and_articles_give_the_same_corpus(
    articles, articles_file, featurizer, tmp_path
):
    corpora = [
        build_corpus(source, tmp_path / name, featurizer, **OPTIONS)
        for name, source in (
            ("a", articles_file),
            ("b", [os.fspath(articles_file)]),
            ("c", articles),
            ("d", (article for article in articles)),
        )
    ]
    assert len({corpus.fingerprint for corpus in corpora}) == 1
    assert corpora[0].manifest.counts == {
        "num_blocks": 40,
        "num_documents": 20,
        "num_articles": 20,
        "num_bad_records": 0,
        "num_left_out": 0,
        "num_cut_sentences": 0,
        "num_files_left_out": 0,
    }
    assert corpora[0].manifest.options == {"max_wordpieces": 32}


def test_parts_make_no_difference(
    articles_file, featurizer, tmp_path, monkeypatch, written
):
    whole = build_corpus(articles_file, tmp_path / "a", featurizer, **OPTIONS)
    monkeypatch.setattr(corpus_parts, "PART_CHARACTERS", 300)
    parts = build_corpus(articles_file, tmp_path / "b", featurizer, **OPTIONS)
    assert len(written) == 1 + 7
    assert parts.fingerprint == whole.fingerprint


def test_max_wordpieces_decides_the_blocks(articles, featurizer, tmp_path):
    default = build_corpus(articles, tmp_path / "a", featurizer)
    short = build_corpus(
        articles, tmp_path / "b", featurizer, max_wordpieces=20
    )
    assert len(default) == 20
    assert len(short) == 100  # of 80 sentences, 20 of which are too long
    assert short.manifest.counts["num_cut_sentences"] == 20


def test_number_of_processes_follows_the_size(
    articles_file, featurizer, tmp_path, monkeypatch
):
    seen = []
    write_parts = corpus_builder.write_parts

    def record(tasks, featurizer, max_wordpieces, num_processes):
        seen.append(num_processes)
        return write_parts(tasks, featurizer, max_wordpieces, 1)

    monkeypatch.setattr(corpus_builder, "write_parts", record)
    build_corpus(articles_file, tmp_path / "a", featurizer)
    build_corpus(articles_file, tmp_path / "b", featurizer, num_processes=3)
    monkeypatch.setattr(corpus_builder, "_SMALL_BYTES", 0)
    build_corpus(articles_file, tmp_path / "c", featurizer)
    assert seen == [1, 3, os.cpu_count()]


def test_progress_reaches_the_end(
    articles_file, featurizer, tmp_path, monkeypatch
):
    monkeypatch.setattr(corpus_parts, "PART_CHARACTERS", 300)
    calls = []
    build_corpus(
        articles_file,
        tmp_path / "corpus",
        featurizer,
        progress=lambda *counts: calls.append(counts),
        **OPTIONS,
    )
    done = [call[1] for call in calls]
    assert done == sorted(done)
    assert len(calls) == 7
    assert calls[-1] == ("corpus", 40, 40, {"articles": 20})
    assert calls[0][2] >= calls[0][1]  # read ahead of what is done


def test_bad_records_are_refused_or_counted(
    articles_file, featurizer, tmp_path
):
    path = tmp_path / "more.jsonl"
    path.write_text('{"id": "x", "text": "It is."}\n{"text": 5}\n{"text": ""}')
    with pytest.raises(BadRecordError, match=r"more\.jsonl, line 2"):
        build_corpus([articles_file, path], tmp_path / "a", featurizer)
    assert not (tmp_path / "a").exists()
    corpus = build_corpus(
        [articles_file, path], tmp_path / "a", featurizer, skip_bad=True
    )
    assert corpus.manifest.counts["num_bad_records"] == 1
    assert corpus.manifest.counts["num_articles"] == 22
    assert corpus.manifest.counts["num_documents"] == 21


def test_skip_navigation_leaves_lists_out(featurizer, tmp_path):
    given = [Article("1", "List of novels", "Emma."), Article("2", "E", "A.")]
    assert len(build_corpus(given, tmp_path / "a", featurizer)) == 2
    corpus = build_corpus(
        given, tmp_path / "b", featurizer, skip_navigation=True
    )
    assert [block.document_id for block in corpus] == ["2"]
    assert corpus.manifest.counts["num_left_out"] == 1


def test_format_is_passed_on(featurizer, tmp_path):
    (tmp_path / "file.txt").write_text("1\tThe text.\tEmma\n")
    plain = build_corpus(tmp_path / "file.txt", tmp_path / "a", featurizer)
    tsv = build_corpus(
        tmp_path / "file.txt", tmp_path / "b", featurizer, format="tsv"
    )
    assert (plain[0].title, tsv[0].title) == ("file", "Emma")


def test_repeated_ids_are_refused(featurizer, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"id": "x", "text": "One."}\n\n{"id": "x", "text": "Two."}'
    )
    with pytest.raises(
        ValueError, match=r"'x' in .*a\.jsonl, line 1, and in .*, line 3"
    ):
        build_corpus(path, tmp_path / "corpus", featurizer)
    assert not (tmp_path / "corpus").exists()


def test_existing_folder_is_never_replaced(corpus, articles, featurizer):
    with pytest.raises(FolderError, match="does not exist yet.*corpus"):
        build_corpus(articles, corpus.path, featurizer)
    assert len(Corpus.open(corpus.path)) == len(corpus)


@pytest.mark.parametrize(
    ("sources", "options", "error", "match"),
    [
        ([], {}, ValueError, "at least one file"),
        ([{"text": "a"}], {}, TypeError, "paths or articles. Received: dict"),
        ([Article("1", "", "\n")], {}, ValueError, "1 articles without a word"),
        ([Article("1", "", "a")], {"num_processes": 0}, ValueError, "positive"),
        ([Article("1", "", "a")], {"max_wordpieces": 3}, ValueError, "Pass 4"),
    ],
)
def test_bad_arguments_are_refused(
    featurizer, tmp_path, sources, options, error, match
):
    with pytest.raises(error, match=match):
        build_corpus(sources, tmp_path / "corpus", featurizer, **options)
    assert list(tmp_path.iterdir()) == []


def test_killed_builds_leave_no_corpus_and_go_on(
    articles_file, featurizer, tmp_path, monkeypatch, written
):
    folder = tmp_path / "killed"
    folder.mkdir()
    vocabulary = os.fspath(FIXTURES / "vocab_small.txt")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED_BUILDS,
            articles_file,
            vocabulary,
            folder,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    killed = str(int(signal.SIGKILL))
    assert done.stdout.splitlines() == [
        f"first part,{killed},False",
        f"sixth part,{killed},False",
        f"blocks,{killed},False",
        f"arrays,{killed},False",
        f"manifest,{killed},False",
        f"cleaning,{killed},True",
    ]
    fresh = build_corpus(
        articles_file, tmp_path / "fresh", featurizer, **OPTIONS
    )
    monkeypatch.setattr(corpus_parts, "PART_CHARACTERS", 1)
    for name, num_parts in (
        ("first part", 20),
        ("sixth part", 15),
        ("blocks", 0),
        ("arrays", 0),
        ("manifest", 0),
    ):
        written.clear()
        path = folder / name / "corpus"
        with pytest.raises(FolderError, match="which has none"):
            Corpus.open(path)
        corpus = build_corpus(articles_file, path, featurizer, **OPTIONS)
        assert len(written) == num_parts
        assert corpus.fingerprint == fresh.fingerprint
        assert list(path.parent.iterdir()) == [path]
    path = folder / "cleaning" / "corpus"
    assert Corpus.open(path).fingerprint == fresh.fingerprint
    with pytest.raises(FolderError, match="does not exist yet"):
        build_corpus(articles_file, path, featurizer)
    assert list(path.parent.iterdir()) == [path]


def test_other_files_or_options_start_anew(
    articles_file, featurizer, tmp_path, monkeypatch, written
):
    monkeypatch.setattr(corpus_parts, "PART_CHARACTERS", 1)

    def stop(stage, done, total, figures):
        if figures["articles"] == 5:
            raise KeyboardInterrupt

    def stopped_then_built(**options):
        path = tmp_path / json.dumps(options)
        with pytest.raises(KeyboardInterrupt):
            build_corpus(
                articles_file, path, featurizer, progress=stop, **OPTIONS
            )
        written.clear()
        build_corpus(articles_file, path, featurizer, **{**OPTIONS, **options})
        return len(written)

    assert stopped_then_built() == 15
    assert stopped_then_built(skip_bad=True) == 15
    assert stopped_then_built(max_wordpieces=33) == 20
    assert stopped_then_built(skip_navigation=True) == 20


def damage_parts(work, damage):
    """Damages the parts of a stopped build; returns how many."""
    parts = sorted(work.glob("part-*.npz"))
    data = [part.read_bytes() for part in parts]
    for number, part in enumerate(parts):
        part.unlink()
        if damage == "empty":
            part.touch()
        elif damage == "cut":
            part.write_bytes(data[number][: len(data[number]) * 2 // 3])
        elif damage == "flipped":
            middle = len(data[number]) // (number + 2)
            changed = bytearray(data[number])
            for place in range(middle, middle + 200):  # of any array
                changed[place] ^= 255
            part.write_bytes(changed)
        elif damage == "folder":
            part.mkdir()
        elif damage == "pipe":
            os.mkfifo(part)
        elif damage == "other array":
            with open(part, "wb") as file:
                np.save(file, np.arange(3))
        elif damage == "other arrays":
            np.savez(part, counts=np.array([1, 0, 1, 1]))
    return len(parts)


DAMAGES = [
    "empty",
    "cut",
    "flipped",
    "folder",
    "pipe",
    "other array",
    "other arrays",
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_parts_of_a_stopped_build_are_made_again(
    articles_file, featurizer, tmp_path, monkeypatch, written, damage
):
    monkeypatch.setattr(corpus_parts, "PART_CHARACTERS", 1)
    path = tmp_path / "corpus"

    def stop(stage, done, total, figures):
        if figures["articles"] == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_corpus(articles_file, path, featurizer, progress=stop, **OPTIONS)
    assert damage_parts(tmp_path / ".corpus.building", damage) == 5
    written.clear()
    corpus = build_corpus(articles_file, path, featurizer, **OPTIONS)
    assert len(written) == 20
    fresh = build_corpus(
        articles_file, tmp_path / "fresh", featurizer, **OPTIONS
    )
    assert corpus.fingerprint == fresh.fingerprint


def test_a_part_that_is_damaged_meanwhile_is_made_by_the_next_run(
    articles_file, featurizer, tmp_path, monkeypatch, written
):
    monkeypatch.setattr(corpus_parts, "PART_CHARACTERS", 1)
    path = tmp_path / "corpus"
    write_corpus = corpus_builder.write_corpus

    def damaging(path, parts, **options):
        parts[3].write_bytes(parts[3].read_bytes()[:-9])
        write_corpus(path, parts, **options)

    with monkeypatch.context() as patch:
        patch.setattr(corpus_builder, "write_corpus", damaging)
        with pytest.raises(FolderError, match="part-000003.*same command"):
            build_corpus(articles_file, path, featurizer, **OPTIONS)
    written.clear()
    assert len(build_corpus(articles_file, path, featurizer, **OPTIONS)) == 40
    assert len(written) == 1


def test_full_disk_is_explained_and_the_build_goes_on(
    articles_file, featurizer, tmp_path, monkeypatch, written
):
    monkeypatch.setattr(corpus_parts, "PART_CHARACTERS", 1)
    path = tmp_path / "corpus"
    with (
        pytest.raises(OSError, match="bytes are free .*to resume") as caught,
        files_up_to(1_000),
    ):
        build_corpus(articles_file, path, featurizer, **OPTIONS)
    assert caught.value.errno == errno.EFBIG
    # Room for the parts, none for the blocks.
    with (
        pytest.raises(OSError, match="bytes are free.*retry") as caught,
        files_up_to(10_000),
    ):
        build_corpus(articles_file, path, featurizer, **OPTIONS)
    assert caught.value.errno == errno.EFBIG
    assert not path.exists()
    written.clear()
    assert len(build_corpus(articles_file, path, featurizer, **OPTIONS)) == 40
    assert written == []


def test_strange_text_keeps_its_offsets(featurizer, tmp_path):
    text = "A\x00 b. \u202eC e\u0301 is. 😀 D. \u200fIt is."
    corpus = build_corpus([Article("1", "é", text)], tmp_path / "c", featurizer)
    [block] = corpus
    data, raw = block.text.encode(), text.encode()
    ends = [*(start - 1 for start in block.sentence_starts[1:]), len(data)]
    for start, end, place in zip(
        block.sentence_starts, ends, block.article_starts, strict=True
    ):
        assert data[start:end] == raw[place : place + end - start]
    tokens = featurizer.tokenize([block.text])
    assert corpus.token_ids(0).tolist() == tokens.ids.tolist()
    for start, end in zip(tokens.starts, tokens.ends, strict=True):
        assert data[start:end].decode().strip()


def test_huge_text_is_cut_in_bounded_pieces(featurizer, tmp_path):
    given = [Article("1", "", "word " * 100_000), Article("2", "", "a" * 10**6)]
    corpus = build_corpus(given, tmp_path / "corpus", featurizer)
    assert max(len(block.text) for block in corpus) < 300_000
    # Pieces of 199 words and their spaces: 995 of 500,000 characters.
    assert len(corpus.find_document("1")) == 503


@pytest.mark.parametrize("language", ["C", "tr_TR.UTF-8"])
def test_e7_locale_and_time_zone_change_nothing(tmp_path, featurizer, language):
    source = tmp_path / "Zo\u00eb.jsonl"
    record = {"id": "\u0130", "text": "ISPARTA is in \u0130stanbul, I\u0131i."}
    source.write_text(json.dumps(record, ensure_ascii=False), "utf-8")
    corpus = build_corpus(source, tmp_path / "here", featurizer)
    environment = {
        "LC_ALL": language,
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "TZ": "Asia/Kathmandu",
    }
    done = subprocess.run(
        [
            *(sys.executable, "-c", ONE_BUILD, source),
            *(FIXTURES / "vocab_small.txt", tmp_path / "there"),
        ],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    fingerprint, text = done.stdout.split(maxsplit=1)
    assert fingerprint == corpus.fingerprint
    assert text.strip() == ascii(normalize_answer(corpus[0].text))
