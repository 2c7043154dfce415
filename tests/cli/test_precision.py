import pytest

from realm_tf.cli import precision


@pytest.fixture(autouse=True)
def measure_again():
    precision._faster_policy.cache_clear()
    yield
    precision._faster_policy.cache_clear()


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_choose_dtype_does_not_measure_what_is_given(dtype, monkeypatch):
    monkeypatch.setattr(precision, "seconds_per_product", None)
    assert precision.choose_dtype(dtype) == dtype


@pytest.mark.parametrize(
    ("seconds", "dtype"),
    [
        ([1.0, 0.5], "mixed_bfloat16"),
        ([1.0, 0.9], "float32"),  # not worth the rounding
        ([1.0, 20.0], "float32"),
    ],
)
def test_choose_dtype_takes_what_is_clearly_faster(seconds, dtype, monkeypatch):
    calls = []

    def measure(*dtypes):
        calls.append(dtypes)
        return seconds

    monkeypatch.setattr(precision, "seconds_per_product", measure)
    assert precision.choose_dtype("auto") == dtype
    assert precision.choose_dtype("auto") == dtype
    assert calls == [("float32", "bfloat16")]  # once


def test_seconds_per_product_times_each_type():
    seconds = precision.seconds_per_product("float32", "bfloat16")
    assert len(seconds) == 2
    assert all(0 < value < 60 for value in seconds)
