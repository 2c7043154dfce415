"""Pretrainer: the base of the pre-training models."""

from typing import Any

import keras

from realm_tf._replicas import check_fit


class Pretrainer(keras.Model):
    """Abstract: a model that is trained without labels."""

    def fit(
        self, x: Any = None, *, epochs: int = 1, **kwargs: Any
    ) -> keras.callbacks.History:
        """`keras.Model.fit`, which also takes a `StepDataset`.

        Args:
            x: `StepDataset`, of which an epoch has `steps_per_epoch` batches;
                or whatever `keras.Model.fit` takes.
            epochs: number of epochs.
            **kwargs: of `keras.Model.fit`.

        Raises:
            ValueError: for what Keras cannot do with several replicas.
        """
        check_fit(self)
        if hasattr(x, "as_dataset"):
            steps = kwargs.setdefault("steps_per_epoch", x.steps_per_epoch)
            kwargs["shuffle"] = False  # Every epoch has an order of its own.
            x = x.as_dataset(0, epochs * steps)
        return super().fit(x, epochs=epochs, **kwargs)
