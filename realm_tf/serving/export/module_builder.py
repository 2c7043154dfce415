"""The models of a bundle: their graphs, and requests to warm them up with."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any, cast

import ml_dtypes
import numpy as np
import tensorflow as tf

from realm_tf.checkpoints.presets import Parts
from realm_tf.data.corpus.blocks import Block
from realm_tf.engine.embedding_module import EmbeddingModule
from realm_tf.engine.reading_module import ReadingModule
from realm_tf.options import ExportOptions, ScannOptions
from realm_tf.retrieval.index.block_index import BlockIndex
from realm_tf.serving import bundle as bundles
from realm_tf.serving.export.block_table import ASSET_NAME, BlockTable
from realm_tf.serving.export.graph_searcher import (
    BruteForceGraphSearcher,
    GraphSearcher,
)
from realm_tf.serving.export.qa_module import QAModule
from realm_tf.serving.export.saved_model import Requests

_BLOCKS_AT_ONCE = 1024
_QUESTIONS = ("what is this?", "who was the first to do so, and when was it?")
_BLOCK = Block(
    title="Warming up",
    text="A server answers a few questions before it says that it is ready.",
)


class ModuleBuilder:
    """Builds the graph of each model of a bundle.

    Args:
        parts: of the model.
        index: `BlockIndex`, for models that answer from it.
        options: `ExportOptions`.
        fingerprints: of embedder, reader and tokenizer.
    """

    def __init__(
        self,
        parts: Parts,
        index: BlockIndex | None,
        options: ExportOptions,
        fingerprints: Mapping[str, str],
    ):
        self._parts = parts
        self._index = index
        self._options = options
        self._fingerprints = fingerprints

    @contextlib.contextmanager
    def module(self, name: str) -> Iterator[tf.Module]:
        """A model; it is to be saved before the context ends."""
        with contextlib.ExitStack() as stack:
            if name == bundles.QUERY_EMBEDDER:
                yield self._questions()
            elif name == bundles.BLOCK_EMBEDDER:
                yield self._blocks()
            elif name == bundles.READER:
                yield self._reading()
            else:
                folder = tempfile.TemporaryDirectory(prefix="realm_tf-")
                yield self._answering(name, stack.enter_context(folder))

    def requests(self, name: str) -> Requests:
        """Requests that a server answers before it is ready."""
        num_read = self._parts.options["num_read"]
        questions = np.array([q.encode() for q in _QUESTIONS], object)
        titles, texts = (
            np.array([[text.encode()] * num_read] * len(questions), object)
            for text in (_BLOCK.title, _BLOCK.text)
        )
        if name == bundles.BLOCK_EMBEDDER:
            blocks = {"title": titles[:, 0], "text": texts[:, 0]}
            return [("serving_default", blocks), ("embed", blocks)]
        if name == bundles.READER:
            inputs = {
                "question": questions,
                "block_titles": titles,
                "block_texts": texts,
                "retrieval_scores": np.zeros(titles.shape, np.float32),
            }
            return [("serving_default", inputs)]
        inputs = {"question": questions}
        if name == bundles.QUERY_EMBEDDER:
            return [("serving_default", inputs), ("embed", inputs)]
        return [("serving_default", inputs)]

    def _questions(self) -> EmbeddingModule:
        return EmbeddingModule(
            self._parts.query_embedder,
            self._parts.featurizer.cut_questions,
            ("question",),
            fingerprint=self._fingerprints["embedder"],
            jit_compile=self._options.jit_compile,
        )

    def _blocks(self) -> EmbeddingModule:
        return EmbeddingModule(
            self._parts.block_embedder,
            self._parts.featurizer.blocks,
            ("title", "text"),
            fingerprint=self._fingerprints["embedder"],
            jit_compile=self._options.jit_compile,
        )

    def _reading(self) -> ReadingModule:
        return ReadingModule(
            self._parts.reader,
            self._parts.featurizer,
            num_answers=self._options.num_answers,
            fingerprint=self._fingerprints["reader"],
            calibration=self._parts.calibration,
            jit_compile=self._options.jit_compile,
        )

    def _answering(self, name: str, folder: str) -> QAModule:
        index = cast(BlockIndex, self._index)  # `export` has checked
        block_ids = index.live_block_ids()
        asset = pathlib.Path(folder) / ASSET_NAME
        BlockTable.write(asset, _blocks(index, block_ids))
        return QAModule(
            self._questions(),
            self._reading(),
            self._searcher(name, index, block_ids),
            BlockTable(asset),
            block_ids,
            num_read=self._parts.options["num_read"],
            num_answers=self._options.num_answers,
        )

    def _searcher(
        self, name: str, index: BlockIndex, block_ids: np.ndarray
    ) -> GraphSearcher:
        if name == bundles.SCANN_QA:
            from realm_tf.serving.export.scann_graph_searcher import (
                ScannGraphSearcher,
            )

            return ScannGraphSearcher(
                index.embeddings(block_ids),
                # Those that the index was measured with, if it has ScaNN.
                ScannOptions(**(index.manifest.options.get("scann") or {})),
            )
        dtype: Any = np.float32
        if self._options.storage == "bfloat16":
            dtype = ml_dtypes.bfloat16
        return BruteForceGraphSearcher(
            index.embeddings(block_ids).astype(dtype, copy=False)
        )


def _blocks(index: BlockIndex, block_ids: np.ndarray) -> Iterator[Block]:
    for start in range(0, len(block_ids), _BLOCKS_AT_ONCE):
        yield from index.blocks(block_ids[start : start + _BLOCKS_AT_ONCE])
