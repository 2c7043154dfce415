"""ReadingModule: questions and blocks to answers, in Python and served."""

from typing import Any

import tensorflow as tf

from realm_tf._constants import MASKED_LOGIT
from realm_tf.data.text.answer_normalization import NUM_MERGED_SPANS
from realm_tf.data.text.featurizer import Featurizer
from realm_tf.engine.answer_selection import answer_specs, select_answers
from realm_tf.engine.checked_inputs import checked
from realm_tf.engine.inference_backbone import inference_backbone
from realm_tf.engine.packed_backbone import PackedTokens
from realm_tf.engine.token_budget import default_token_budget, in_groups
from realm_tf.evaluation.calibration import TEMPERATURES, Calibration
from realm_tf.layers.backbone_layer import FEATURES
from realm_tf.layers.span_reader import SpanReader

# JSON has no infinity; see `MISSING_SCORE` of `realm_tf.engine.engine`.
_LEAST_SCORE = -1e30
_OFFSETS = ("block_mask", "starts", "ends")


class ReadingModule(tf.Module):
    """A `SpanReader` with the text's way in, and the answers' way out.

    Signature serving_default: `question` string `(batch,)`, `block_titles`
    and `block_texts` string, `retrieval_scores` float32 `(batch, num_blocks)`,
    to what `answer_specs` lists, with `batch` in front, and `fingerprint`
    string and `threshold` float32 `(batch,)`. p(z | x) is over the blocks that
    are given. One is missing where its score is not finite or at most -1e30,
    in whatever place. A question without a letter or digit has no answers.

    Each pair of question and block is a row of its own; rows are computed in
    groups of about equal length, whichever question they belong to.

    Blocks are padded, not ragged: servers join requests along the first axis,
    which row splits would not survive. Those join only requests that are
    equally wide.

    Args:
        reader: `SpanReader`.
        featurizer: `Featurizer`.
        num_answers: how many the signature returns.
        fingerprint: what is returned for every question.
        calibration: `Calibration`. Its threshold is returned for every
            question, and applied by whoever asks.
        jit_compile: compile the backbone with XLA.
        token_budget: see `in_groups`. Defaults to what this machine is good
            at.
    """

    def __init__(
        self,
        reader: SpanReader,
        featurizer: Featurizer,
        *,
        num_answers: int = 1,
        fingerprint: str = "",
        calibration: Calibration | None = None,
        jit_compile: bool = False,
        token_budget: int | None = None,
    ):
        super().__init__()
        self._weights = tuple(weight.value for weight in reader.weights)
        self._reader = reader
        self._backbone = inference_backbone(reader.backbone, jit_compile)
        self._featurizer = featurizer
        self._num_answers = num_answers
        self._fingerprint = fingerprint
        self.calibration = calibration or Calibration()
        self._token_budget = token_budget or default_token_budget()
        self._read_texts = tf.function(
            self.read,
            [
                *_text_specs(),
                tf.TensorSpec([], tf.int32, "num_answers"),
                tf.TensorSpec([], tf.float32, "temperature"),
            ],
            autograph=False,
        )
        self._best_texts = tf.function(
            self._best_by_temperature, _text_specs(), autograph=False
        )

    @property
    def signatures(self) -> dict[str, Any]:
        """Name -> function, for `tf.saved_model.save`."""
        serve = tf.function(self._serve, autograph=False)
        return {"serving_default": serve.get_concrete_function(*_text_specs())}

    def texts(
        self,
        question: tf.Tensor,
        block_titles: tf.Tensor,
        block_texts: tf.Tensor,
        retrieval_scores: tf.Tensor,
        num_answers: int,
    ) -> dict[str, tf.Tensor]:
        """`read`, compiled, with the current weights and temperature."""
        self._backbone.refresh()
        return self._read_texts(
            question,
            block_titles,
            block_texts,
            retrieval_scores,
            num_answers,
            self.calibration.temperature,
        )

    def best_by_temperature(
        self,
        question: tf.Tensor,
        block_titles: tf.Tensor,
        block_texts: tf.Tensor,
        retrieval_scores: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """The best answer at each of `TEMPERATURES`, read once.

        Returns:
            dict of tensors `(num_temperatures, batch, 1)`, see `answer_specs`.
        """
        self._backbone.refresh()
        return self._best_texts(
            question, block_titles, block_texts, retrieval_scores
        )

    def of_export(self, question: tf.Tensor) -> dict[str, tf.Tensor]:
        """Fingerprint and threshold, once for each question."""
        facts = {
            "fingerprint": self._fingerprint,
            "threshold": tf.constant(self.calibration.threshold, tf.float32),
        }
        size = tf.shape(question)
        return {name: tf.fill(size, value) for name, value in facts.items()}

    def read(
        self,
        question: tf.Tensor,
        titles: tf.Tensor,
        texts: tf.Tensor,
        scores: tf.Tensor,
        num_answers: tf.Tensor | int,
        temperature: tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Answers questions, within a graph.

        Args:
            question: string `(batch,)`.
            titles: string `(batch, num_blocks)`.
            texts: string `(batch, num_blocks)`.
            scores: float32 `(batch, num_blocks)`.
            num_answers: how many are wanted of each.
            temperature: defaults to that of `calibration`, as a constant.

        Returns:
            dict of tensors, see `answer_specs`, with `batch` in front.
        """
        if temperature is None:
            temperature = tf.constant(self.calibration.temperature, tf.float32)
        spans, norms = self._read_spans(
            question, titles, texts, scores, temperature[None]
        )
        return _answers(spans, norms[0], num_answers, temperature)

    def _best_by_temperature(
        self,
        question: tf.Tensor,
        titles: tf.Tensor,
        texts: tf.Tensor,
        scores: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        temperatures = tf.constant(TEMPERATURES, tf.float32)
        spans, norms = self._read_spans(
            question, titles, texts, scores, temperatures
        )
        specs = {
            name: tf.TensorSpec([None, *spec.shape], spec.dtype)
            for name, spec in answer_specs(1).items()
        }
        return tf.map_fn(
            lambda at: _answers(spans, at[0], 1, at[1]),
            (norms, temperatures),
            fn_output_signature=specs,
        )

    def _read_spans(
        self,
        question: tf.Tensor,
        titles: tf.Tensor,
        texts: tf.Tensor,
        scores: tf.Tensor,
        temperatures: tf.Tensor,
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Inputs of `select_answers` but for norms, with `batch` in front.

        Returns:
            The inputs; and their norms at each temperature, float32
            `(num_temperatures, batch, num_blocks)`.
        """
        is_there = tf.math.is_finite(scores) & (scores > _LEAST_SCORE)
        is_there &= _has_words(question)[:, None]
        places = tf.where(is_there)  # question and block of every row
        joint = self._featurizer.joint_rows(
            question,
            tf.cast(places[:, 0], tf.int32),
            tf.gather_nd(titles, places),
            tf.gather_nd(texts, places),
        )
        spans = self._read_rows(joint, temperatures)
        shape = tf.shape(scores, tf.int64)
        # (batch, num_blocks, ...) again; zeros where a block is missing.
        spans = {
            name: tf.scatter_nd(
                places,
                rows,
                tf.concat([shape, tf.shape(rows, tf.int64)[1:]], 0),
            )
            for name, rows in spans.items()
        }
        norms = tf.transpose(spans.pop("norms"), [2, 0, 1])
        scores = _relative(scores, is_there)
        others = {"is_there": is_there, "scores": scores, "texts": texts}
        return spans | others, norms

    def _serve(
        self,
        question: tf.Tensor,
        block_titles: tf.Tensor,
        block_texts: tf.Tensor,
        retrieval_scores: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        question, titles, texts, scores = checked(
            question=(question, 1),
            block_titles=(block_titles, 2),
            block_texts=(block_texts, 2),
            retrieval_scores=(retrieval_scores, 2),
        )
        answers = self.read(question, titles, texts, scores, self._num_answers)
        shape = [None, self._num_answers]
        answers = {
            name: tf.ensure_shape(values, shape)
            for name, values in answers.items()
        }
        return answers | self.of_export(question)

    def _read_rows(
        self, joint: dict[str, tf.Tensor], temperatures: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The most probable spans of each row, and the log of the sum of all.

        Args:
            joint: of `Featurizer.joint`, `(num_rows, joint_length)`.
            temperatures: float32 `(num_temperatures,)`.

        Returns:
            dict of `(num_rows, NUM_MERGED_SPANS)` tensors `logits`,
            `byte_starts`, `byte_ends`, and `norms` `(num_rows,
            num_temperatures)`.
        """

        def read_some(rows: tf.Tensor) -> dict[str, tf.Tensor]:
            some = {
                name: tf.gather(joint[name], rows)
                for name in (*FEATURES, *_OFFSETS)
            }
            return self._read_packed(some, temperatures)

        spans = [None, NUM_MERGED_SPANS]
        return in_groups(
            tf.reduce_sum(joint["padding_mask"], axis=1),
            read_some,
            {
                "logits": tf.TensorSpec(spans, tf.float32),
                "byte_starts": tf.TensorSpec(spans, tf.int32),
                "byte_ends": tf.TensorSpec(spans, tf.int32),
                "norms": tf.TensorSpec([None, *temperatures.shape], tf.float32),
            },
            token_budget=self._token_budget,
        )

    def _read_packed(
        self, joint: dict[str, tf.Tensor], temperatures: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        tokens = PackedTokens.of(joint)
        states = self._backbone(tokens)
        # Answers are made of tokens of the block alone. The first token of all
        # stands behind them, so that there is always one.
        places = tf.stack([tokens.rows, tokens.positions], 1)
        of_block = tf.where(tf.gather_nd(joint["block_mask"], places) > 0)[:, 0]
        of_block = tf.concat([of_block, [0]], 0)
        num_rows = tf.size(tokens.lengths)
        rows = tf.concat([tf.gather(tokens.rows, of_block[:-1]), [num_rows]], 0)
        places = tf.gather(places, of_block)
        lengths = tf.math.bincount(rows, minlength=num_rows)[:num_rows]
        logits, first = self._span_logits(
            tf.gather(states, of_block), rows, lengths
        )
        return _best_spans(
            logits,
            first,
            tf.gather_nd(joint["starts"], places),
            tf.gather_nd(joint["ends"], places),
            temperatures,
        )

    def _span_logits(
        self, states: tf.Tensor, rows: tf.Tensor, lengths: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Logits of all spans of each row, by width and then by start.

        Args:
            states: float32 `(num_tokens, hidden_dim)`, of blocks alone.
            rows: int32 `(num_tokens,)`.
            lengths: int32 `(num_rows,)`, tokens of each row.

        Returns:
            float32 `(num_rows, max_span_width, longest)`, and the first token
            of each row, int32 `(num_rows,)`.
        """
        starts, ends = self._reader.start_end(states)
        num_tokens = tf.size(rows)
        by_width = []
        for offset in range(self._reader.max_span_width):
            end = tf.maximum(num_tokens - offset, 0)
            scores = _span_scores(self._reader, starts[:end], ends[offset:])
            is_span = tf.equal(rows[:end], rows[offset:])
            scores = tf.where(is_span, scores, MASKED_LOGIT)
            missing = tf.fill([num_tokens - end], float(MASKED_LOGIT))
            by_width.append(tf.concat([scores, missing], 0))
        first = tf.cumsum(lengths, exclusive=True)
        column = tf.range(tf.maximum(tf.reduce_max(lengths), 1))
        places = tf.minimum(first[:, None] + column, num_tokens - 1)
        logits = tf.gather(tf.stack(by_width, 1), places)
        is_token = (column < lengths[:, None])[:, :, None]
        logits = tf.where(is_token, logits, MASKED_LOGIT)
        return tf.transpose(logits, [0, 2, 1]), first


def _span_scores(
    reader: SpanReader, starts: tf.Tensor, ends: tf.Tensor
) -> tf.Tensor:
    """`SpanReader.score`, with half as many passes over the hidden layer.

    w . LN(x) needs three sums over x: of x, of its squares, and of x times the
    scale of the norm and w.
    """
    hidden = tf.nn.relu(starts + ends)
    norm, dense = reader.span_layer_norm, reader.score_dense
    kernel = tf.convert_to_tensor(dense.kernel.value)[:, 0]
    weighted = norm.gamma.value * kernel
    sums = tf.matmul(
        hidden,
        tf.stack(
            [tf.fill([reader.span_hidden_dim], 1 / reader.span_hidden_dim)]
            + [weighted],
            axis=1,
        ),
    )
    mean, dot = sums[:, 0], sums[:, 1]
    variance = tf.reduce_mean(tf.square(hidden), axis=1) - tf.square(mean)
    scale = tf.math.rsqrt(tf.maximum(variance, 0.0) + reader.layer_norm_epsilon)
    shift = tf.reduce_sum(norm.beta.value * kernel) + dense.bias.value[0]
    return (dot - mean * tf.reduce_sum(weighted)) * scale + shift


def _answers(
    spans: dict[str, tf.Tensor],
    norms: tf.Tensor,
    num_answers: tf.Tensor | int,
    temperature: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """`select_answers` of each question."""

    def select(row: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return select_answers(
            **row, num_answers=num_answers, temperature=temperature
        )

    return tf.map_fn(
        select,
        spans | {"norms": norms},
        fn_output_signature=answer_specs(num_answers),
    )


def _best_spans(
    logits: tf.Tensor,
    first: tf.Tensor,
    starts: tf.Tensor,
    ends: tf.Tensor,
    temperatures: tf.Tensor,
) -> dict[str, tf.Tensor]:
    num_rows, longest = tf.shape(logits)[0], tf.shape(logits)[2]
    logits = tf.reshape(logits, [num_rows, -1])
    norms = tf.reduce_logsumexp(
        logits[:, None] / temperatures[:, None], axis=2
    )  # (num_rows, num_temperatures)
    kept = tf.minimum(NUM_MERGED_SPANS, tf.shape(logits)[1])
    logits, spans = tf.math.top_k(logits, kept)  # ties: what comes first
    last_token = tf.size(starts) - 1
    start = first[:, None] + spans % longest
    end = tf.minimum(start + spans // longest, last_token)
    found = {
        "logits": logits,
        "byte_starts": tf.gather(starts, tf.minimum(start, last_token)),
        "byte_ends": tf.gather(ends, end),
    }
    missing = [[0, 0], [0, NUM_MERGED_SPANS - kept]]
    padded = {
        name: tf.pad(x, missing, constant_values=tf.cast(MASKED_LOGIT, x.dtype))
        for name, x in found.items()
    }
    return padded | {"norms": norms}


def _has_words(texts: tf.Tensor) -> tf.Tensor:
    """Whether there is a letter or a digit; see `check_questions`."""
    texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")
    return tf.strings.regex_full_match(texts, r"(?s).*[\pL\pN].*")


def _relative(scores: tf.Tensor, is_there: tf.Tensor) -> tf.Tensor:
    """Scores less the best of their row, which changes no probability.

    Of sums with scores of 1e38 nothing but the score would be left.
    """
    scores = tf.where(is_there, scores, tf.float32.min)
    best = tf.reduce_max(scores, axis=1, keepdims=True)
    best = tf.where(best > _LEAST_SCORE, best, 0.0)
    scores = tf.maximum(scores - best, MASKED_LOGIT)
    return tf.where(is_there, scores, MASKED_LOGIT)


def _text_specs() -> list[tf.TensorSpec]:
    blocks = [None, None]
    return [
        tf.TensorSpec([None], tf.string, "question"),
        tf.TensorSpec(blocks, tf.string, "block_titles"),
        tf.TensorSpec(blocks, tf.string, "block_texts"),
        tf.TensorSpec(blocks, tf.float32, "retrieval_scores"),
    ]
