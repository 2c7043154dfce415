"""realm-tf pretrain: a retriever learns without questions."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import click

from realm_tf.cli.ui import options, pretrain_options
from realm_tf.cli.ui.class_options import make
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.output import check_output
from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.cli.ui.progress import progress_bar
from realm_tf.cli.ui.tables import show_facts
from realm_tf.options import (
    InverseClozeOptions,
    MaskedSentenceOptions,
    RefreshOptions,
    TrainingOptions,
)

if TYPE_CHECKING:
    import keras

    from realm_tf.realm_qa import RealmQA


@click.group()
def pretrain() -> None:
    """Trains a retriever on text alone: ict first, then mlm.

    To resume a training that was stopped, give the same command.
    """


@pretrain.command(
    epilog=options.examples(
        "realm-tf pretrain ict --bert bert --corpus corpus --output ict",
        "realm-tf pretrain ict --bert bert --corpus corpus --output ict \\",
        "    --batch-size 4096 --chunk-size 64 --num-steps 100000",
    )
)
@pretrain_options.shared
@pretrain_options.ict
def ict(
    chunk_size: int | None,
    query_length: int | None,
    probe_every: int | None,
    keep_duplicates: bool,
    **shared: Any,
) -> None:
    """Inverse Cloze Task: find the block that a sentence was taken from."""
    run = _Run(shared, InverseClozeOptions)
    from realm_tf.training.pretraining_stages import pretrain_inverse_cloze

    with progress_bar("pretraining") as bar:
        model = pretrain_inverse_cloze(
            run.qa,
            run.corpus,
            run.work,
            run.training,
            run.data,
            mask_duplicates=not keep_duplicates,
            chunk_size=chunk_size,
            query_length=query_length,
            block_length=shared["block_length"],
            probe=run.probe,
            probe_every=probe_every,
            progress=bar.show,
        )
    run.save(model)


@pretrain.command(
    epilog=options.examples(
        "realm-tf spans --corpus corpus",
        "realm-tf pretrain mlm --preset ict --corpus corpus --output realm",
        "realm-tf pretrain mlm --preset ict --corpus wikipedia \\",
        "    --text news --probe questions.jsonl --output realm",
    )
)
@pretrain_options.shared
@pretrain_options.mlm
def mlm(
    text: pathlib.Path | None,
    spans: pathlib.Path | None,
    masks: str,
    passage_bytes: int,
    bucket: str | None,
    marginalize: str,
    freeze_retriever: bool,
    gradient_checkpointing: bool,
    **shared: Any,
) -> None:
    """Masked words: predict words with the help of retrieved blocks."""
    run = _Run(shared, MaskedSentenceOptions)
    refresh = make(RefreshOptions, shared)
    from realm_tf.data.corpus.corpus import Corpus
    from realm_tf.data.spans.salient_spans import default_path
    from realm_tf.data.spans.sentence_masks import make_masks
    from realm_tf.training.pretraining_stages import pretrain_masked_words

    if shared["candidates"] == "mentions" and (text or masks != "recurring"):
        raise click.UsageError(
            "--candidates mentions goes with --masks recurring, and not with "
            "--text."
        )
    if passage_bytes and not masks.startswith("random"):
        raise click.UsageError(
            "--passage-bytes goes with --masks random-tokens or random-spans; "
            "a salient span is masked in its sentence alone."
        )
    if bucket and refresh.mode != "external":
        raise click.UsageError("--bucket goes with --refresh external.")
    sentences = Corpus.open(text) if text else run.corpus
    spans = spans or default_path(sentences.path)
    if not masks.startswith("random") and not spans.is_dir():
        raise click.UsageError(
            f"There are no spans at {spans}. Find them with `realm-tf spans "
            f"--corpus {sentences.path}`, or name their folder with --spans."
        )
    block_length = shared["block_length"]
    with progress_bar("pretraining") as bar:
        model = pretrain_masked_words(
            run.qa,
            run.corpus,
            make_masks(
                masks,
                sentences,
                spans,
                passage_bytes=passage_bytes,
                block_length=block_length,
            ),
            run.work,
            run.training,
            run.data,
            text=sentences,
            marginalize=marginalize,
            block_length=block_length,
            train_retriever=not freeze_retriever,
            gradient_checkpointing=gradient_checkpointing,
            probe=run.probe,
            progress=bar.show,
            bucket=bucket,
            **dataclasses.asdict(refresh),
        )
    run.save(model)


class _Run:
    """What both stages begin and end with."""

    def __init__(self, shared: dict[str, Any], data: type):
        starts = [shared[n] for n in ("bert", "preset") if shared[n]]
        if len(starts) != 1:
            raise click.UsageError("Give either --bert or --preset.")
        self.output: pathlib.Path = shared["output"]
        self.overwrite: bool = shared["overwrite"]
        self.as_json: bool = shared["as_json"]
        check_output(self.output, self.overwrite)
        self.training = make(TrainingOptions, shared)
        self.data: Any = make(data, shared)
        self.work: pathlib.Path = shared["work"] or self.output.with_name(
            f"{self.output.name}.training"
        )
        prepare_tensorflow()
        import keras
        import tensorflow as tf

        from realm_tf.data.corpus.corpus import Corpus
        from realm_tf.data.questions.questions import read_questions

        if shared["deterministic"]:
            tf.config.experimental.enable_op_determinism()
        keras.utils.set_random_seed(shared["seed"])
        self.probe = read_questions(
            shared["probe"], split=shared["probe_split"]
        )
        self.corpus: Corpus = Corpus.open(shared["corpus"])
        self.qa = _untrained(shared)
        if shared["separate_embedders"]:
            self.qa.separate_embedders()

    def save(self, model: "keras.Model") -> None:
        """Writes the preset and shows the last figures.

        Raises:
            ClickException: if the training stopped early.
        """
        from realm_tf.training.pretraining import read_log

        if model.stop_training:
            raise click.ClickException(
                "The training stopped before its last step. "
                f"{self.work} has a checkpoint, and {self.output} was not "
                "written. Give the same command to resume."
            )
        self.qa.save_to_preset(self.output, overwrite=self.overwrite)
        lines = read_log(self.work)
        facts: dict[str, Any] = {
            "preset": str(self.output),
            "work": str(self.work),
        }
        for name, figure in (lines[0] if lines else {}).items():
            if name.startswith("recall"):
                facts[f"first_{name}"] = figure
        show_facts(facts | (lines[-1] if lines else {}), self.as_json)


def _untrained(shared: dict[str, Any]) -> "RealmQA":
    from realm_tf.realm_qa import RealmQA

    return RealmQA.from_preset(
        shared["preset"] or shared["bert"],
        embedding_dim=shared["embedding_dim"],
        pooling=shared["pooling"],
        logit_scale=shared["logit_scale"],
        dropout=shared["dropout"],
        dtype=choose_dtype(shared["dtype"]),
    )
