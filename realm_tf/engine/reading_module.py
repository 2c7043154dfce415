"""ReadingModule: question and blocks to answers, as it is served."""

from typing import Any

import tensorflow as tf

from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.answer_selection import answer_specs, select_answers
from realm_tf.engine.rows import checked, each_row, trimmed_length
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.span_reader import SpanReader

_BUCKET = 32  # wordpieces, as in `realm_tf.engine.text_embedder`
_BLOCKS_READ = 32  # at once, as in `realm_tf.engine.question_answerer`
# JSON has no infinity; see `MISSING_SCORE` of `serving.backends.backend`.
_LEAST_SCORE = -1e30


class ReadingModule(tf.Module):
    """A `SpanReader` with the text's way in, and the answers' way out.

    Signature serving_default: `question` string `(batch,)`, `block_titles`
    and `block_texts` string, `retrieval_scores` float32 `(batch, num_blocks)`,
    to what `answer_specs` lists, with `batch` in front, and `fingerprint`
    string `(batch,)`. p(z | x) is over the blocks that are given. One is
    missing where its score is not finite or at most -1e30, in whatever place.

    Blocks are padded, not ragged: servers join requests along the first axis,
    which row splits would not survive. Those join only requests that are
    equally wide.

    Args:
        reader: `SpanReader`.
        featurizer: `Featurizer`.
        num_answers: how many are returned.
        fingerprint: what is returned for every question.
        jit_compile: compile the layer with XLA.
    """

    def __init__(
        self,
        reader: SpanReader,
        featurizer: Featurizer,
        *,
        num_answers: int,
        fingerprint: str,
        jit_compile: bool = False,
    ):
        super().__init__()
        self._weights = tuple(weight.value for weight in reader.weights)
        self._featurizer = featurizer
        self._num_answers = num_answers
        self._fingerprint = fingerprint
        self._max_span_width = reader.max_span_width
        spec = tf.TensorSpec([1, None, None], tf.int32)
        self._layer = tf.function(
            lambda joint, block_mask: reader(
                joint, block_mask=block_mask, training=False
            ),
            input_signature=[{name: spec for name in FEATURES}, spec],
            autograph=False,
            jit_compile=jit_compile or None,
        )

    @property
    def signatures(self) -> dict[str, Any]:
        """Name -> function, for `tf.saved_model.save`."""
        serve = tf.function(self._serve, autograph=False)
        blocks = [None, None]
        return {
            "serving_default": serve.get_concrete_function(
                tf.TensorSpec([None], tf.string, "question"),
                tf.TensorSpec(blocks, tf.string, "block_titles"),
                tf.TensorSpec(blocks, tf.string, "block_texts"),
                tf.TensorSpec(blocks, tf.float32, "retrieval_scores"),
            )
        }

    def _serve(
        self,
        question: tf.Tensor,
        block_titles: tf.Tensor,
        block_texts: tf.Tensor,
        retrieval_scores: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        question, *blocks = checked(
            question=(question, 1),
            block_titles=(block_titles, 2),
            block_texts=(block_texts, 2),
            retrieval_scores=(retrieval_scores, 2),
        )
        answers = each_row(
            self.read, [question, *blocks], answer_specs(self._num_answers)
        )
        return answers | {"fingerprint": self.fingerprints(question)}

    def fingerprints(self, question: tf.Tensor) -> tf.Tensor:
        """The fingerprint, once for each question."""
        return tf.fill(tf.shape(question), self._fingerprint)

    def read(
        self,
        question: tf.Tensor,
        titles: tf.Tensor,
        texts: tf.Tensor,
        scores: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """Answers one question.

        Args:
            question: string, a scalar.
            titles: string `(num_blocks,)`.
            texts: string `(num_blocks,)`.
            scores: float32 `(num_blocks,)`.

        Returns:
            dict of tensors, see `answer_specs`.
        """
        is_there = tf.math.is_finite(scores) & (scores > _LEAST_SCORE)
        places = tf.where(is_there)[:, 0]
        titles, texts, scores = (
            tf.gather(x, places) for x in (titles, texts, scores)
        )
        questions = tf.fill(tf.shape(texts), question)
        joint = self._featurizer.joint(questions, titles, texts)
        bucket = max(_BUCKET, self._max_span_width)
        length = trimmed_length(joint["padding_mask"], bucket)
        joint = {name: value[:, :length] for name, value in joint.items()}
        answers = select_answers(
            self._span_logits(joint),
            scores,
            joint["starts"],
            joint["ends"],
            texts,
            max_span_width=self._max_span_width,
            num_answers=self._num_answers,
        )
        position = answers["block_position"]
        position = tf.gather(
            tf.concat([tf.cast(places, tf.int32), [-1]], 0),
            tf.where(position < 0, tf.size(places), position),
        )
        return answers | {"block_position": position}

    def _span_logits(self, joint: dict[str, tf.Tensor]) -> tf.Tensor:
        num_blocks = tf.shape(joint["block_mask"])[0]

        def read_some(start: tf.Tensor, logits: tf.Tensor) -> Any:
            end = start + _BLOCKS_READ
            part = {name: x[None, start:end] for name, x in joint.items()}
            features = {name: part[name] for name in FEATURES}
            more = self._layer(features, part["block_mask"])[0]
            return end, tf.concat([logits, more], 0)

        length = tf.shape(joint["block_mask"])[1]
        width = self._max_span_width
        # Spans of each width up to the largest.
        num_spans = width * length - width * (width - 1) // 2
        _, logits = tf.while_loop(
            lambda start, _: start < num_blocks,
            read_some,
            (tf.constant(0), tf.zeros(tf.stack([0, num_spans]))),
            shape_invariants=(
                tf.TensorShape([]),
                tf.TensorShape([None, None]),
            ),
            parallel_iterations=1,
        )
        return logits
