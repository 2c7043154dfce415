import pytest

from realm_tf.options import FinetuneOptions


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("retriever_epochs", -1, "an integer of 0 or more"),
        ("retriever_batch_size", 1, "an integer of 2 or more"),
        ("retriever_learning_rate", -1e-5, "a positive number"),
        ("epochs", 1.5, "an integer of 0 or more"),
        ("batch_size", 0, "an integer of 1 or more"),
        ("learning_rate", 0.0, "a positive number"),
        ("learning_rate", float("nan"), "a positive number"),
        ("learning_rate", float("inf"), "a positive number"),
        ("num_retrieved", 0, "an integer of 1 or more"),
        ("num_read", True, "an integer of 1 or more"),
        ("train_token_embeddings", 1, "True or False"),
        ("checkpoint_minutes", -1.0, "a number of 0 or more"),
        ("seed", -1, "an integer of 0 or more"),
    ],
)
def test_options_refuse_nonsense(name, value, rule):
    with pytest.raises(ValueError, match=f"`{name}` must be {rule}"):
        FinetuneOptions(**{name: value})


def test_options_may_leave_stages_out():
    options = FinetuneOptions(retriever_epochs=0, epochs=0)
    assert (options.retriever_epochs, options.epochs) == (0, 0)
