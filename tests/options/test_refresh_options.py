import pytest

from realm_tf.options import RefreshOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "soon"}, "mode='soon'"),
        ({"on_stale": "panic"}, "on_stale='panic'"),
        ({"every_n_steps": 0}, "every_n_steps=0"),
        ({"timeout": 0}, "timeout=0"),
        (
            {"max_staleness_steps": 1},
            "max_staleness_steps=1, every_n_steps=500. Refresh more often",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RefreshOptions(**options)


def test_young_index_may_be_demanded_without_waiting_for_one():
    options = RefreshOptions(max_staleness_steps=1, on_stale="stop")
    assert options.max_staleness_steps == 1
