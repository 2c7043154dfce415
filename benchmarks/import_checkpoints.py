"""Imports a miniature of every published layout, and measures large ones.

    python benchmarks/import_checkpoints.py               # the table
    python benchmarks/import_checkpoints.py --large       # speed and memory

The difference is the largest of any output against the formulas in float64.
`--large` writes a pytorch_model.bin of BERT-base's size and an encoded.ckpt of
2,000,000 x 128, and imports each in a process of its own.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = pathlib.Path(__file__).parents[1]


def miniature(name="miniature_release"):
    """A module that writes layouts."""
    path = ROOT / f"tests/fixtures/{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def difference(release, parts, layout):
    """Largest difference of any output."""
    import numpy as np

    ict = layout in ("ict", "trainer")
    features = release.features()
    joint = {name: value[:, None] for name, value in features.items()}
    found = []
    for name, layer in parts.layers.items():
        if layout in ("bert", "start") and name != "encoder":
            outputs = layer.backbone(features)["sequence_output"]
            expected = release.run_trunk(release.ENCODER, features)
        elif name == "encoder":
            positions = np.array([[1, 4], [0, 2], [3, 3]])
            outputs = layer(joint, mask_positions=positions)[:, 0]
            expected = release.run_encoder(release.ENCODER, features, positions)
        elif name == "reader":
            mask = np.ones_like(joint["token_ids"])
            outputs = layer(joint, block_mask=mask)[:, 0]
            expected = release.run_reader(release.READER, features)
        else:
            is_query = layout in ("openqa", "orqa") or (
                layout == "scorer_of_two" and name == "query_embedder"
            )
            part = release.QUERY_EMBEDDER if is_query else release.EMBEDDER
            outputs = layer(features)
            expected = release.run_embedder(
                release.ICT if ict else part, features
            )
        found.append(float(np.abs(np.asarray(outputs) - expected).max()))
    return max(found)


def print_table():
    """One line for each layout."""
    from realm_tf.checkpoints import load

    release, garden = miniature(), miniature("miniature_garden")
    print(f"{'layout':34}{'used':>6}{'skipped':>9}{'difference':>12}")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for layout in release.HUGGING_FACE:
            for kind in ("safetensors", "zip", "legacy"):
                path = folder / f"{layout}-{kind}"
                release.write_hugging_face(path, layout, kind)
                show(f"HF {layout}, {kind}", load(path), release, layout)
        for layout in release.TF1:
            path = release.write_tf1(folder / f"tf1-{layout}", layout)
            checkpoint = load(path, num_heads=release.HEADS)
            show(f"TF1 {layout}", checkpoint, release, layout)
        path = garden.write_google(release, folder / "google")
        show("Google BERT", load(path), release, "start")
        for style in ("old", "new"):
            path = folder / f"garden-{style}"
            garden.write(release, path, garden.garden(release, style))
            show(f"Model Garden, {style}", load(path), release, "start")


def show(name, checkpoint, release, layout):
    """Prints one line."""
    delta = difference(release, checkpoint.parts, layout)
    print(
        f"{name:34}{len(checkpoint.used):6}{len(checkpoint.skipped):9}"
        f"{delta:12.1e}",
        flush=True,
    )


def peak_mib():
    """Most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def import_bert(path):
    """Imports a folder and prints seconds and memory."""
    from realm_tf.checkpoints import load

    before, start = peak_mib(), time.monotonic()
    checkpoint = load(path)
    print(
        json.dumps(
            {
                "what": "pytorch_model.bin of BERT-base's size",
                "variables": len(checkpoint.used),
                "seconds": round(time.monotonic() - start, 1),
                "MiB before": before,
                "MiB peak": peak_mib(),
            }
        )
    )


def import_embeddings(path):
    """Writes an index of embeddings and prints seconds and memory."""
    from realm_tf.checkpoints import load
    from realm_tf.retrieval import EmbeddingWriter

    matrix = load(path, num_heads=miniature().HEADS).embeddings
    before, start = peak_mib(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with EmbeddingWriter(folder, matrix.num_blocks) as writer:
            for rows in matrix.file.rows(matrix.name):
                writer.write(rows)
            writer.finish()
        seconds = time.monotonic() - start
    print(
        json.dumps(
            {
                "what": "encoded.ckpt",
                "rows": matrix.num_blocks,
                "seconds": round(seconds, 1),
                "MiB before": before,
                "MiB peak": peak_mib(),
            }
        )
    )


def write_bert_base(folder):
    """A RealmKnowledgeAugEncoder of BERT-base's size."""
    import numpy as np

    release = miniature()
    sizes = (30_522, 768)
    shapes = release.trunk_shapes(*sizes, 3072, 12, 512)
    shapes |= release.words_shapes(*sizes)
    part = {n: np.full(s, 0.01, np.float32) for n, s in shapes.items()}
    trunk, head = release.split(part)
    table = trunk["bert/embeddings/word_embeddings"]
    tensors = release.hugging_face_trunk(trunk, "realm.")
    tensors |= release.hugging_face_words(head, "", table)
    release.write_torch(folder / "pytorch_model.bin", tensors)
    config = {"model_type": "realm", "hidden_act": "gelu_new"}
    (folder / "config.json").write_text(json.dumps(config))


def write_embeddings(folder, num_rows):
    """A small model with a large encoded.ckpt."""
    import numpy as np

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((num_rows, 128), dtype=np.float32)
    miniature().write_tf1(folder, "orqa", rows)


def measure_large():
    """Each writer and each import in a process of its own."""
    for write, read in (
        ("write_bert_base(folder)", "import_bert(folder)"),
        ("write_embeddings(folder, 200_000)", "import_embeddings(folder)"),
        ("write_embeddings(folder, 2_000_000)", "import_embeddings(folder)"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            for call in (write, read):
                code = (
                    "import sys"
                    f"; sys.path.insert(0, {str(ROOT / 'benchmarks')!r})"
                    "\nimport pathlib\n"
                    "from import_checkpoints import *\n"
                    f"folder = pathlib.Path({folder!r}); {call}"
                )
                subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true")
    if parser.parse_args().large:
        measure_large()
    else:
        print_table()
