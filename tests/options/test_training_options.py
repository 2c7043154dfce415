import pytest

from realm_tf.options import TrainingOptions


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_steps": 0}, "num_steps=0"),
        ({"num_warmup_steps": -1}, "num_warmup_steps=-1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"log_every": 3}, "multiple of `log_every`"),
    ],
)
def test_bad_options_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**changed)
