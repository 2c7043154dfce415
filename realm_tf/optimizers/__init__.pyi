from realm_tf.optimizers.bert_adamw import BertAdamW as BertAdamW
from realm_tf.optimizers.bert_adamw import (
    SyncedLossScaleOptimizer as SyncedLossScaleOptimizer,
)
from realm_tf.optimizers.bert_adamw import (
    WarmupLinearDecay as WarmupLinearDecay,
)
