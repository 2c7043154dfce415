from realm_tf.optimizers.bert_adamw import BertAdamW as BertAdamW
from realm_tf.optimizers.synced_loss_scale_optimizer import (
    SyncedLossScaleOptimizer as SyncedLossScaleOptimizer,
)
from realm_tf.optimizers.warmup_linear_decay import (
    WarmupLinearDecay as WarmupLinearDecay,
)
