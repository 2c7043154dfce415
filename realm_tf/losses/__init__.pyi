from realm_tf.losses.in_batch_loss import InBatchLoss as InBatchLoss
from realm_tf.losses.marginal_likelihood import (
    marginal_log_likelihood as marginal_log_likelihood,
)
from realm_tf.losses.marginal_likelihood import (
    marginal_mlm_loss as marginal_mlm_loss,
)
from realm_tf.losses.marginal_likelihood import (
    retrieval_utility as retrieval_utility,
)
from realm_tf.losses.marginal_likelihood import (
    token_log_probs as token_log_probs,
)
from realm_tf.losses.marginal_loss import MarginalLoss as MarginalLoss
from realm_tf.losses.orqa_losses import reader_loss as reader_loss
from realm_tf.losses.orqa_losses import retrieval_loss as retrieval_loss
