"""Every options dataclass: plain values, checked when they are made.

Nothing here imports TensorFlow. The options of the command `realm-tf` are made
from these classes. Start with `finetune_options.py`.
"""

from realm_tf.options.export_options import ExportOptions as ExportOptions
from realm_tf.options.finetune_options import FinetuneOptions as FinetuneOptions
from realm_tf.options.inverse_cloze_options import (
    InverseClozeOptions as InverseClozeOptions,
)
from realm_tf.options.load_options import LoadOptions as LoadOptions
from realm_tf.options.masked_sentence_options import (
    MaskedSentenceOptions as MaskedSentenceOptions,
)
from realm_tf.options.reading_options import ReadingOptions as ReadingOptions
from realm_tf.options.refresh_options import RefreshOptions as RefreshOptions
from realm_tf.options.scann_options import ScannOptions as ScannOptions
from realm_tf.options.service_options import ServiceOptions as ServiceOptions
from realm_tf.options.tagger_options import TaggerOptions as TaggerOptions
from realm_tf.options.training_options import TrainingOptions as TrainingOptions

__all__ = [
    "ExportOptions",
    "FinetuneOptions",
    "InverseClozeOptions",
    "LoadOptions",
    "MaskedSentenceOptions",
    "ReadingOptions",
    "RefreshOptions",
    "ScannOptions",
    "ServiceOptions",
    "TaggerOptions",
    "TrainingOptions",
]
