from realm_tf.training.finetuning import finetune as finetune
from realm_tf.training.pretraining import read_log as read_log
from realm_tf.training.pretraining_stages import (
    pretrain_inverse_cloze as pretrain_inverse_cloze,
)
from realm_tf.training.pretraining_stages import (
    pretrain_masked_words as pretrain_masked_words,
)
from realm_tf.training.tagger_training import train_tagger as train_tagger
