import pytest
import tensorflow as tf

from realm_tf.training.out_of_memory import explain_out_of_memory


def test_t11_full_device_says_what_to_lower():
    full = tf.errors.ResourceExhaustedError(
        None, None, "failed to allocate 9 GiB\nHint: ..."
    )
    with (
        pytest.raises(
            MemoryError,
            match=r"batch_size=8, num_read=5 \(failed .* GiB\)\. Lower one",
        ),
        explain_out_of_memory({"batch_size": 8, "num_read": 5}),
    ):
        raise full


def test_other_errors_are_passed_on():
    with pytest.raises(KeyError), explain_out_of_memory({}):
        raise KeyError("x")
