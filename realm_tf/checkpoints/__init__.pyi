from realm_tf.checkpoints.exporting import export_preset as export_preset
from realm_tf.checkpoints.loading import load as load
