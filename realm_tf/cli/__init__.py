"""The command realm-tf: click commands around one library call each.

No model, no format and no training is defined here. Start with `app.py`.
"""

from realm_tf.cli.app import main as main

__all__ = ["main"]
