import pytest

from realm_tf.options import ExportOptions


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ("reader", "encoder")}, "Received: realm_encoder"),
        ({"models": ()}, "Received: none"),
        ({"num_answers": 0}, "num_answers=0"),
        ({"storage": "int8"}, "storage='int8'"),
        ({"server_path": "models"}, "server_path='models'"),
    ],
)
def test_options_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        ExportOptions(**changes)


def test_models_have_their_full_names_once():
    assert ExportOptions(models=("qa", "realm_qa")).models == ("realm_qa",)


def test_models_of_the_query_service_are_the_default():
    assert ExportOptions().models == (
        "realm_query_embedder",
        "realm_block_embedder",
        "realm_reader",
    )
