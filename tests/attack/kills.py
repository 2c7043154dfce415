"""Kills a writer at random times, and looks at what it leaves.

Run as `python kills.py KIND FOLDERS WORK NUMBER`; FOLDERS holds `one`, with a
folder of every kind. Prints a line of JSON for each kill. Writers are forked
after the imports, before TensorFlow starts; so are those who look.
"""

import abc
import http.client
import importlib
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import time
import traceback

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from realm_tf._manifest import read_manifest
from realm_tf.data.corpus.blocks import Article
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.retrieval.index import index_versions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving.bundle import BLOCK_EMBEDDER, read_bundle

NUM_ARTICLES = 400
PART_CHARACTERS = 2_000
EMBEDDER = "e" * 64
READY_SECONDS = 120.0
MOST_SECONDS = 600
GONE = -signal.SIGKILL


class Kills(abc.ABC):
    """Writers of one kind, killed one after the other in the same folder.

    Args:
        root: holds `one`.
        work: where they write.
    """

    imports: tuple[str, ...] = ()  # that take seconds, and once is enough

    def __init__(self, root, work):
        self.one = root / "one"
        self.work = work
        self.generator = random.Random(0)
        for name in self.imports:
            importlib.import_module(name)

    @abc.abstractmethod
    def write(self):
        """What is killed; in a process of its own."""

    @abc.abstractmethod
    def check(self):
        """Whether the folder is whole; in a process of its own."""

    def finish(self):
        """The same call once more, not killed; returns what must hold."""
        self.write()
        self.check()

    def wait(self, child):
        """Lets the writer work for some seconds of a processor."""
        seconds = self.generator.uniform(*self.seconds)
        while processor_seconds(child) < seconds:
            time.sleep(0.005)

    def run(self, number):
        for i in range(number):
            child = forked(self.write)
            self.wait(child)
            os.kill(child, signal.SIGKILL)
            code = ended(child)
            tried = {"kill": i, "killed": code == GONE, "code": code}
            print(json.dumps(tried), flush=True)
            assert ended(forked(self.check)) == 0
        assert ended(forked(self.finish)) == 0


class CorpusBuilds(Kills):
    """Articles in many parts, which a repeated build takes up."""

    seconds = (1.0, 4.0)
    imports = ("realm_tf.data.corpus.corpus_builder",)

    @property
    def path(self):
        return self.work / "corpus"

    def write(self, path=None):
        from realm_tf.data.corpus import corpus_parts
        from realm_tf.data.corpus.corpus_builder import build_corpus
        from realm_tf.data.text.featurizer import Featurizer

        corpus_parts.PART_CHARACTERS = PART_CHARACTERS
        if path is None and self.path.exists():  # the last one was too late
            shutil.rmtree(self.path)
        articles = [
            Article(f"{n}", f"City {n}", f"It is a city. It has {n} schools.")
            for n in range(NUM_ARTICLES)
        ]
        vocabulary = self.one / "preset" / "vocabulary.txt"
        return build_corpus(
            articles, path or self.path, Featurizer.from_file(vocabulary)
        )

    def check(self):
        if self.path.exists():
            Corpus.open(self.path)

    def finish(self):
        again = self.write()
        fresh = self.write(self.work / "fresh")
        assert again.fingerprint == fresh.fingerprint
        assert sorted(os.listdir(self.work)) == ["corpus", "fresh"]


class IndexBuilds(Kills):
    """Versions with a lexical part, one after the other."""

    seconds = (0.0, 0.5)

    def __init__(self, root, work):
        super().__init__(root, work)
        self.path = work / "index"
        # In no process that is forked later: readers of corpora have threads.
        assert ended(forked(lambda: self.write(1))) == 0

    def write(self, times=1_000_000):
        corpus = Corpus.open(self.one / "corpus")
        rows = np.eye(4, dtype=np.float32)
        rows = rows[np.arange(corpus.num_blocks) % 4]
        for _ in range(times):
            BlockIndex.build(
                self.path, corpus, rows, embedder_fingerprint=EMBEDDER
            )

    def check(self):
        corpus = Corpus.open(self.one / "corpus")
        versions = index_versions.list_versions(self.path)
        assert versions
        for version in versions:
            index = BlockIndex.open(self.path, corpus, version=version)
            found = index.search_words(["Paris"], 3).block_ids
            assert (found >= 0).any()

    def finish(self):
        self.write(1)
        self.check()
        hidden = [n for n in os.listdir(self.path) if n.startswith(".v")]
        assert hidden == []


class Finetunings(Kills):
    """A preset that is trained and saved in the place of another one."""

    seconds = (4.0, 30.0)
    imports = ("realm_tf.realm_qa",)

    def __init__(self, root, work):
        super().__init__(root, work)
        self.path = work / "preset"
        shutil.copytree(self.one / "preset", self.path)

    def write(self):
        from realm_tf import RealmQA
        from realm_tf.options import FinetuneOptions

        qa = RealmQA.from_preset(self.one / "preset")
        questions = [
            (f"When was the school of {name} founded?", year)
            for name, year in (("Paris", "1163"), ("London", "1215"))
        ] * 4
        corpus = Corpus.open(self.one / "corpus")
        options = FinetuneOptions(retriever_epochs=0, batch_size=4)
        qa.fit(questions, corpus, options=options, verbose=0)
        while True:
            qa.save_to_preset(self.path, include_corpus=True, overwrite=True)

    def check(self):
        check_preset(self.path)

    def finish(self):
        from realm_tf import RealmQA

        qa = RealmQA.from_preset(self.path)
        qa.save_to_preset(self.path, include_corpus=True, overwrite=True)
        check_preset(self.path)
        hidden = [n for n in os.listdir(self.work) if n.startswith(".")]
        assert hidden == []


class Exports(Kills):
    """A bundle that gets version after version, with corpus and index."""

    seconds = (4.0, 30.0)
    imports = ("realm_tf.realm_qa",)

    def __init__(self, root, work):
        super().__init__(root, work)
        self.path = work / "bundle"

    def write(self, times=1_000_000):
        from realm_tf import RealmQA

        qa = RealmQA.from_preset(self.one / "preset")
        for _ in range(times):
            qa.export(self.path, models=(BLOCK_EMBEDDER,))

    def check(self, is_there=False):
        if not is_there and not (self.path / "bundle.json").exists():
            return
        bundle = read_bundle(self.path)
        for name in bundle.models:
            read_manifest(bundle.model_path(name), "saved_model")
        BlockIndex.open(bundle.index_path, Corpus.open(bundle.corpus_path))
        bundle.open_featurizer()

    def finish(self):
        self.write(1)
        self.check(is_there=True)
        assert not list(self.path.glob("**/.*writing*"))


class ServiceWrites(Kills):
    """Documents that a service acknowledges before it is killed."""

    seconds = (0.0, 1.5)
    imports = ("realm_tf.serving.service.query_service",)

    def __init__(self, root, work):
        super().__init__(root, work)
        from realm_tf.serving.service import http_server

        self.path = work / "bundle"
        shutil.copytree(self.one / "bundle", self.path)
        self.listening = http_server.open_socket("127.0.0.1", 0)
        self.port = self.listening.getsockname()[1]
        self.expected = {}  # document -> whether it is there, as acknowledged
        self.maybe = set()  # sent, not acknowledged
        self.number = 0

    def write(self):
        from realm_tf.options import ServiceOptions
        from realm_tf.serving.service import http_server
        from realm_tf.serving.service.query_service import QueryService

        options = ServiceOptions(token="secret", is_local=True)
        service = QueryService(
            self.path, lambda: numpy_backend(self.path), options
        )
        http_server.serve(service, self.listening)

    def wait(self, child):
        """Sends documents until the time is over."""
        self.until("/readyz")
        end = time.monotonic() + self.generator.uniform(*self.seconds)
        while time.monotonic() < end:
            self.send()

    def until(self, path):
        deadline = time.monotonic() + READY_SECONDS
        while self.request("GET", path) != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def send(self):
        self.number += 1
        name = f"new-{self.number}"
        known = [n for n, is_there in self.expected.items() if is_there]
        if known and self.generator.random() < 0.3:
            name = self.generator.choice(known)
            status = self.request("DELETE", f"/v1/documents?id={name}")
            is_there = False
        else:
            document = {"id": name, "title": name, "text": f"It is {name}."}
            body = json.dumps({"documents": [document]})
            status = self.request("POST", "/v1/documents", body)
            is_there = True
        if status == 200:
            self.expected[name] = is_there
        else:
            self.expected.pop(name, None)

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=READY_SECONDS
        )
        headers = {"authorization": "Bearer secret"}
        headers["content-type"] = "application/json"
        try:
            connection.request(method, path, body, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def check(self):
        corpus = Corpus.open(self.path / "corpus")
        index = BlockIndex.open(self.path / "index", corpus)
        for name, is_there in self.expected.items():
            assert index.has_document(name) == is_there, name

    def finish(self):
        self.check()
        assert len(self.expected) > 20
        index = BlockIndex.open(
            self.path / "index", Corpus.open(self.path / "corpus")
        )
        index.add([index.corpus[0]], np.ones((1, index.embedding_dim)))
        print(json.dumps({"acknowledged": len(self.expected)}), flush=True)


def numpy_backend(folder):
    """Models that are ready at once."""
    from realm_tf.serving.backends.backend import Backend
    from realm_tf.serving.bundle import READER

    bundle = read_bundle(folder)

    class NumPyBackend(Backend):
        num_parallel = 1

        def predict(self, model, signature, inputs):
            batch = len(next(iter(inputs.values())))
            name, dim = bundle.embedder_fingerprint, bundle.embedding_dim
            outputs = {"embedding": np.ones((batch, dim), np.float32)}
            if model == READER:
                name = bundle.reader_fingerprint
                outputs = {
                    "text": np.full((batch, 1), b"", object),
                    "block_position": np.zeros((batch, 1), np.int32),
                    "byte_start": np.zeros((batch, 1), np.int32),
                    "byte_end": np.zeros((batch, 1), np.int32),
                    "reading_probability": np.ones((batch, 1), np.float32),
                    "probability": np.ones((batch, 1), np.float32),
                }
            names = np.array([name.encode()] * batch, object)
            return outputs | {"fingerprint": names}, bundle.models[model]

    return NumPyBackend()


def check_preset(path):
    read_manifest(path, "preset")
    BlockIndex.open(path / "index", Corpus.open(path / "corpus"))


def forked(function):
    """Runs a function in a process of its own; returns its number."""
    child = os.fork()
    if child:
        return child
    signal.alarm(MOST_SECONDS)  # if the parent is killed, nobody else would
    code = 1
    try:
        function()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def processor_seconds(child):
    """Time that a process has worked; endless for one that has ended."""
    fields = pathlib.Path(f"/proc/{child}/stat").read_text().split(")")[1]
    state, *numbers = fields.split()
    if state == "Z":
        return float("inf")
    return sum(map(int, numbers[10:12])) / os.sysconf("SC_CLK_TCK")


def ended(child):
    """How a process ended: exit code, or signal below 0."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


KINDS = {
    "corpus build": CorpusBuilds,
    "index build": IndexBuilds,
    "finetune": Finetunings,
    "export": Exports,
    "service writes": ServiceWrites,
}


def main():
    kind, root, work, number = sys.argv[1:]
    KINDS[kind](pathlib.Path(root), pathlib.Path(work)).run(int(number))


if __name__ == "__main__":
    main()
