"""Changes one file of a folder at a time, opens the folder and uses it.

Run as `python file_mutations.py KIND FOLDERS WORK NUMBER`; FOLDERS holds `one`
and `other`, each with a folder of every kind. Prints a line of JSON before
and after each mutation.
"""

import json
import os
import pathlib
import random
import shutil
import sys

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from realm_tf.data.corpus.corpus import Corpus
from realm_tf.errors import RealmError
from realm_tf.retrieval.index.block_index import BlockIndex

QUESTIONS = ("When was the school of Paris founded?", "Where is Bonn?")
PAGE = 4096
OWN_TIMES = 9


def flip(generator, file, other):
    data = bytearray(file.read_bytes())
    place = generator.randrange(len(data))
    data[place] ^= 1 << generator.randrange(8)
    write(file, data)


def cut(generator, file, other):
    data = file.read_bytes()
    write(file, data[: generator.randrange(len(data))])


def zero_page(generator, file, other):
    data = bytearray(file.read_bytes())
    start = generator.randrange(len(data)) // PAGE * PAGE
    data[start : start + PAGE] = bytes(len(data[start : start + PAGE]))
    write(file, data)


def append(generator, file, other):
    more = generator.choice([b"\0", b"\n", b" ", generator.randbytes(100)])
    write(file, file.read_bytes() + more)


def remove(generator, file, other):
    file.unlink()


def swap(generator, file, other):
    write(file, other.read_bytes())


def pipe(generator, file, other):
    file.unlink()
    os.mkfifo(file)


def folder(generator, file, other):
    file.unlink()
    file.mkdir()


def link(generator, file, other):
    """To another folder's file, to nothing, to itself, to an endless one."""
    file.unlink()
    targets = [other, file.with_name("none"), file, "/dev/zero", "/dev/null"]
    file.symlink_to(generator.choice(targets))


HOW = [flip, flip, flip, cut, zero_page, append, remove, swap]
HOW += [pipe, folder, link, link]


def write(file, data):
    """In a new file, so that nobody has the old one open."""
    file.unlink()
    file.write_bytes(data)


def files_of(root):
    """Files with something in them, of which the first answer is made."""
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and path.name != ".writer.lock"
    )


class Attack:
    """A copy of a folder; a change of one file, and back.

    Args:
        kind: name of the folder.
        root: holds `one` and `other`.
        work: where the copy goes.
        seed: of the choices.
    """

    def __init__(self, kind, root, work, seed=0):
        self.kind = kind
        self.original = root / "one" / kind
        self.other = root / "other" / kind
        self.copy = work / kind
        shutil.copytree(self.original, self.copy, symlinks=True)
        self.generator = random.Random(seed)
        self.names = files_of(self.original)
        if kind == "preset":  # its corpus and index are attacked alone, too
            self.names += OWN_TIMES * [n for n in self.names if "/" not in n]
        self.use = getattr(self, f"use_{kind}")

    def use_corpus(self, name=""):
        corpus = Corpus.open(self.copy)
        return [
            [
                block,
                corpus.token_ids(block.block_id).tolist(),
                corpus.title_ids(block.block_id).tolist(),
                corpus.find_document(block.document_id).tolist(),
            ]
            for block in corpus
        ]

    def use_index(self, name=""):
        corpus = Corpus.open(self.original.with_name("corpus"), verify=False)
        index = BlockIndex.open(self.copy, corpus)
        queries = np.eye(2, index.embedding_dim, dtype=np.float32)
        results = [
            index.search(queries, 5),
            index.search(queries, 30, exact=True),
            index.search_words(QUESTIONS, 5),
            index.search(queries, 5, texts=QUESTIONS, lexical_weight=1.0),
        ]
        return [
            index.version,
            index.live_block_ids().tolist(),
            *([r.scores.tolist(), r.block_ids.tolist()] for r in results),
            index.blocks(results[0].block_ids[0]),
        ]

    def use_preset(self, name=""):
        from realm_tf import RealmQA

        qa = RealmQA.from_preset(self.copy)
        return facts(qa.predict(list(QUESTIONS)))

    def use_bundle(self, name=""):
        from realm_tf.serving.backends.in_process_backend import (
            InProcessBackend,
        )
        from realm_tf.serving.bundle import read_bundle
        from realm_tf.serving.service.served_index import ServedIndex

        bundle = read_bundle(self.copy)
        bundle.open_featurizer()
        if name.startswith("realm_") or not name:
            backend = self.backend = InProcessBackend(self.copy)
        else:
            backend = self.backend.of_export(bundle)
        backend.check_export(bundle)
        served = ServedIndex(bundle.index_path, bundle.corpus_path)
        embedded = backend.embed_questions(QUESTIONS)
        evidence = served.acquire(embedded.fingerprint).retrieve(
            QUESTIONS,
            embedded.embeddings,
            bundle.num_read,
            truncated=embedded.truncated,
            lexical_weight=bundle.lexical_weight,
        )
        readings = backend.read(
            QUESTIONS,
            [[block.title for block in each.blocks] for each in evidence],
            [[block.text for block in each.blocks] for each in evidence],
            np.stack([each.retrieval_logits for each in evidence]),
            bundle.num_answers,
        )
        return [[each.blocks for each in evidence], readings.spans]

    def run(self, number):
        """Prints what is tried, and how it ended."""
        name = self.generator.choice(self.names)
        how = self.generator.choice(HOW)
        tried = {"number": number, "file": name, "how": how.__name__}
        print(json.dumps(tried), flush=True)
        file, other = self.copy / name, self.other / name
        if not other.is_file():
            other = self.original / self.generator.choice(self.names)
        how(self.generator, file, other)
        try:
            found = self.use(name)
        except RealmError as error:
            is_named = str(self.copy) in str(error)
            outcome = "named" if is_named else f"unnamed: {error!r:.300}"
        except Exception as error:
            outcome = f"raw: {error!r:.300}"
        else:
            is_same = found == self.answer
            outcome = "same answer" if is_same else "another answer"
        self.put_back(name)
        print(json.dumps(tried | {"outcome": outcome}), flush=True)

    def put_back(self, name):
        file = self.copy / name
        if file.is_dir() and not file.is_symlink():
            shutil.rmtree(file)
        file.unlink(missing_ok=True)
        shutil.copy2(self.original / name, file)


def facts(answers):
    return [
        [answer.text, answer.probability, answer.start, answer.block]
        for answer in answers
    ]


def main():
    kind, root, work, number = sys.argv[1:]
    attack = Attack(kind, pathlib.Path(root), pathlib.Path(work))
    attack.answer = attack.use()
    print(json.dumps({"answer": repr(attack.answer)[:200]}), flush=True)
    for i in range(int(number)):
        attack.run(i)


if __name__ == "__main__":
    main()
