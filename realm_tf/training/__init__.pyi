from realm_tf.training.datasets.masked_sentence_dataset import (
    MaskedSentenceDataset as MaskedSentenceDataset,
)
from realm_tf.training.finetuning import finetune as finetune
from realm_tf.training.masked_features import (
    write_masked_features as write_masked_features,
)
from realm_tf.training.pretraining import read_log as read_log
from realm_tf.training.pretraining_stages import (
    new_encoder as new_encoder,
)
from realm_tf.training.pretraining_stages import (
    pretrain_inverse_cloze as pretrain_inverse_cloze,
)
from realm_tf.training.pretraining_stages import (
    pretrain_masked_words as pretrain_masked_words,
)
from realm_tf.training.refresh.fixed_index import FixedIndex as FixedIndex
from realm_tf.training.tagger_training import train_tagger as train_tagger
