from realm_tf.checkpoints.loading import load as load
