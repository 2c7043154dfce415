"""realm-tf train-tagger: a tagger of names for `realm-tf spans`."""

import pathlib
from typing import Any

import click

from realm_tf.cli.ui import options
from realm_tf.cli.ui.class_options import class_options, make
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import show_facts
from realm_tf.options import TaggerOptions


@click.command(
    "train-tagger",
    epilog=options.examples(
        "realm-tf train-tagger --bert bert --data ner.jsonl.gz -o tagger"
    ),
)
@click.option(
    "--bert", required=True, type=options.FOLDER, help="BERT to start from."
)
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=options.FILE,
    help='JSON lines of {"tokens", "tags", "split"}, tags in BIO.',
)
@click.option(
    "--output", "-o", required=True, type=options.NEW_PATH, help="New tagger."
)
@class_options(TaggerOptions)
@options.dtype_option()
@options.json_option()
@options.shared_options
def train_tagger(
    bert: pathlib.Path,
    data: tuple[pathlib.Path, ...],
    output: pathlib.Path,
    seed: int,
    dtype: str,
    as_json: bool,
    **training: Any,
) -> None:
    """Trains a tagger of people, places, organisations and other names.

    The tagger is trained on the split "train" of all files, and scored by
    entity F1 on the split "test" of each file, or "dev" without a "test".
    """
    if output.exists():
        raise click.UsageError(f"{output} exists. Choose another path.")
    prepare_tensorflow()
    import keras

    from realm_tf.checkpoints.bert import BertFolder
    from realm_tf.data.spans.entities import read_entities
    from realm_tf.training.tagger_training import (
        evaluate_tagger,
    )
    from realm_tf.training.tagger_training import train_tagger as train

    keras.utils.set_random_seed(seed)
    folder = BertFolder.open(bert)
    sentences = [
        sentence
        for path in data
        for sentence in read_entities(path, split="train")
    ]
    with progress_bar("tagger") as bar:
        tagger = train(
            folder.load_backbone(dtype=choose_dtype(dtype)),
            folder.featurizer,
            sentences,
            make(TaggerOptions, training, seed=seed),
            progress=bar.show,
        )
    tagger.save(output)
    facts: dict[str, object] = {
        "tagger": str(output),
        "num_sentences": len(sentences),
    }
    for path in data:
        test = read_entities(path, split="test") or read_entities(
            path, split="dev"
        )
        if test:
            name = path.name.partition(".")[0]
            facts[name] = evaluate_tagger(tagger, test)
    show_facts(facts, as_json)
