"""Pre-training of a model by the name of the task, with plain options."""

import dataclasses
import os
import pathlib
from typing import Any

import keras

from realm_tf._constants import MASKED_WORDS_LEARNING_RATE
from realm_tf.data.corpus.corpus import Corpus
from realm_tf.data.spans.date_number_tagger import DateNumberTagger
from realm_tf.data.spans.salient_spans import default_path, tag_corpus
from realm_tf.data.spans.sentence_masks import SentenceMasks, make_masks
from realm_tf.evaluation.calibration import Calibration
from realm_tf.models.question_answerer import QuestionAnswerer
from realm_tf.options import (
    InverseClozeOptions,
    MaskedSentenceOptions,
    TrainingOptions,
)
from realm_tf.training.pretraining import read_log
from realm_tf.training.pretraining_stages import (
    pretrain_inverse_cloze,
    pretrain_masked_words,
)

INVERSE_CLOZE, MASKED_WORDS = TASKS = ("inverse_cloze", "masked_words")
_LEARNING_RATES = {
    INVERSE_CLOZE: TrainingOptions.learning_rate,
    MASKED_WORDS: MASKED_WORDS_LEARNING_RATE,
}
_SPANS = "spans"


def pretrain_task(
    qa: QuestionAnswerer,
    corpus: Corpus,
    work: str | os.PathLike[str],
    task: str,
    *,
    masks: SentenceMasks | str = "salient",
    **options: Any,
) -> keras.callbacks.History:
    """Trains the parts of a model without questions; see `RealmQA.pretrain`.

    Args:
        qa: `QuestionAnswerer`, trained in place.
        corpus: `Corpus`.
        work: folder of the run.
        task: one of `TASKS`.
        masks: see `RealmQA.pretrain`.
        **options: fields of `TrainingOptions`, of the options of the data, and
            of `pretrain_inverse_cloze` or `pretrain_masked_words`.

    Raises:
        ValueError: if there is no such task, or an option has a bad value.
        TypeError: if the task does not know an option.
    """
    if task not in TASKS:
        raise ValueError(
            f"`task` must be one of {TASKS}. Received: task={task!r}. Begin "
            f"with {INVERSE_CLOZE!r}."
        )
    qa.calibration = Calibration()  # that of the weights before
    options.setdefault("learning_rate", _LEARNING_RATES[task])
    training = _taken(TrainingOptions, options)
    if task == INVERSE_CLOZE:
        data = _taken(InverseClozeOptions, options)
        pretrain_inverse_cloze(qa, corpus, work, training, data, **options)
    else:
        text = options.get("text") or corpus
        if isinstance(masks, str):
            masks = _open_masks(masks, text, pathlib.Path(work) / _SPANS)
        masked = _taken(MaskedSentenceOptions, options)
        pretrain_masked_words(
            qa, corpus, masks, work, training, masked, **options
        )
    return _history(work)


def _taken(of: Any, options: dict[str, Any]) -> Any:
    """Takes the options of a class out of `options`."""
    names = {field.name for field in dataclasses.fields(of)} & options.keys()
    return of(**{name: options.pop(name) for name in names})


def _open_masks(kind: str, text: Corpus, own: pathlib.Path) -> SentenceMasks:
    if kind.startswith("random"):
        return make_masks(kind, text)
    spans = default_path(text.path)
    if not spans.is_dir():
        spans = own
        if not spans.is_dir():
            tag_corpus(text, DateNumberTagger(), spans)
    return make_masks(kind, text, spans)


def _history(work: str | os.PathLike[str]) -> keras.callbacks.History:
    """What was logged, of runs that were resumed from their first step."""
    lines = read_log(work)
    history = keras.callbacks.History()
    history.epoch = [int(line["step"]) for line in lines]
    names = dict.fromkeys(name for line in lines for name in line)
    history.history = {
        name: [line.get(name, float("nan")) for line in lines] for name in names
    }
    return history
