"""realm-tf plan: what an index will take, before the work starts."""

import pathlib
import tempfile
import time
from typing import TYPE_CHECKING, Any

import click

from realm_tf import _resources
from realm_tf._files import free_bytes
from realm_tf.cli.ui import options
from realm_tf.cli.ui.class_options import class_options, make
from realm_tf.cli.ui.environment import prepare_tensorflow
from realm_tf.cli.ui.precision import choose_dtype
from realm_tf.cli.ui.tables import show_facts
from realm_tf.errors import ResourceError
from realm_tf.options import ScannOptions

if TYPE_CHECKING:
    from realm_tf.data.corpus.blocks import Block
    from realm_tf.realm_qa import RealmQA
    from realm_tf.retrieval.index.index_plan import IndexPlan

_SECONDS = 3.0  # of embedding blocks, once the model is traced
_BATCH = 32
_NUM_WORD_BLOCKS = 2000


@click.command(
    epilog=options.examples(
        "realm-tf plan --preset preset --corpus corpus",
        "realm-tf plan --preset preset --blocks 13353718 --storage bfloat16",
    )
)
@options.preset_option()
@options.corpus_option(required=False)
@click.option(
    "--blocks",
    type=options.POSITIVE,
    help="Number of blocks, where there is no corpus yet. They count as full.",
)
@options.searcher_option
@options.storage_option
@options.analyzer_option
@click.option(
    "--output",
    "-o",
    type=options.NEW_PATH,
    default=".",
    help="Where the index will be. Default: the current folder.",
)
@class_options(ScannOptions)
@options.dtype_option()
@options.json_option()
@options.shared_options
def plan(
    preset: pathlib.Path,
    corpus: pathlib.Path | None,
    blocks: int | None,
    output: pathlib.Path,
    dtype: str,
    as_json: bool,
    searcher: str,
    storage: str,
    analyzer: str | None,
    **scann: Any,
) -> None:
    """Tells the memory, disk and hours of an index, and whether it fits.

    The hours follow from a sample that is embedded and indexed now, in a few
    seconds; those of ScaNN, which are few, are left out. Memory is that of the
    index: TensorFlow and the model come on top. The options from --num-leaves
    on are those of ScaNN.
    """
    if (corpus is None) == (blocks is None):
        raise click.UsageError("Give either --corpus or --blocks.")
    prepare_tensorflow()
    from realm_tf.data.corpus.corpus import Corpus
    from realm_tf.realm_qa import RealmQA
    from realm_tf.retrieval.index import index_builder
    from realm_tf.retrieval.index.index_plan import IndexPlan

    qa = RealmQA.from_preset(preset, dtype=choose_dtype(dtype))
    opened = None if corpus is None else Corpus.open(corpus, verify=False)
    if opened is not None:
        num_blocks = opened.num_blocks
        sample = opened.blocks(_spread(num_blocks, _NUM_WORD_BLOCKS))
        wordpieces = index_builder.mean_wordpieces(opened)
    else:
        num_blocks = blocks or 0  # one of the two was given
        sample = [_full_block(qa)] * _NUM_WORD_BLOCKS
        wordpieces = qa.featurizer.block_length
    index_plan = IndexPlan(
        num_blocks,
        qa.block_embedding.blocks(sample[:1]).shape[-1],
        index_builder.choose_searcher(searcher, num_blocks),
        storage,
        wordpieces if analyzer else 0,
        make(ScannOptions, scann),
    )
    seconds = _seconds(index_plan, qa, sample, analyzer)
    show_facts(_facts(index_plan, output, seconds), as_json)


def _facts(
    index_plan: "IndexPlan", output: pathlib.Path, seconds: dict[str, float]
) -> dict[str, Any]:
    problem = None
    try:
        index_plan.check(output)
    except ResourceError as error:
        problem = str(error)
    return {
        "num_blocks": index_plan.num_blocks,
        "embedding_dim": index_plan.embedding_dim,
        "searcher": index_plan.searcher,
        "embedding_bytes": index_plan.embedding_bytes,
        "scann_bytes": index_plan.scann_bytes,
        "lexical_bytes": index_plan.lexical_bytes,
        "disk_bytes": index_plan.disk_bytes,
        "free_disk_bytes": free_bytes(output),
        "build_memory_bytes": index_plan.build_memory,
        "serving_memory_bytes": index_plan.serving_memory,
        "machine_memory_bytes": _resources.memory_bytes(),
        **{f"{name}_hours": s / 3600 for name, s in seconds.items()},
        "fits": problem is None,
        "problem": problem,
    }


def _seconds(
    index_plan: "IndexPlan",
    qa: "RealmQA",
    sample: "list[Block]",
    analyzer: str | None,
) -> dict[str, float]:
    """Seconds of each part of the work, from a sample."""
    seconds = {"embedding": _embedding_seconds(qa, sample)}
    if analyzer:
        seconds["lexical"] = _lexical_seconds(sample, analyzer)
    return {name: s * index_plan.num_blocks for name, s in seconds.items()}


def _embedding_seconds(qa: "RealmQA", sample: "list[Block]") -> float:
    """Seconds a block. The first batch is traced, and not counted."""
    qa.block_embedding.blocks(sample[:_BATCH])
    start, done = time.monotonic(), 0
    while not done or time.monotonic() - start < _SECONDS:
        first = done % len(sample)
        done += len(qa.block_embedding.blocks(sample[first : first + _BATCH]))
    return (time.monotonic() - start) / done


def _lexical_seconds(sample: "list[Block]", analyzer: str) -> float:
    from realm_tf.retrieval.index.lexical_index import searched_text
    from realm_tf.retrieval.searchers.lexical_searcher import LexicalSearcher

    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        texts = map(searched_text, sample)
        LexicalSearcher.build(texts, f"{folder}/lexical", analyzer)
    return (time.monotonic() - start) / len(sample)


def _spread(num_blocks: int, count: int) -> list[int]:
    """Ids of at most `count` blocks, from the first to the last."""
    count = min(count, num_blocks)
    return [number * num_blocks // count for number in range(count)]


def _full_block(qa: "RealmQA") -> "Block":
    """A block that fills the length of the model."""
    from realm_tf.data.corpus.blocks import Block

    text = "the " * qa.featurizer.block_length
    return Block(text=text, title="", document_id="0", block_id=0)
