import pytest
import tensorflow as tf

from realm_tf.cli.ui import precision


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_choose_dtype_takes_what_is_given(dtype, monkeypatch):
    monkeypatch.setattr(precision, "_has_bfloat16", None)
    assert precision.choose_dtype(dtype) == dtype


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("fpu avx2 avx512_bf16 sha_ni", "mixed_bfloat16"),
        ("fpu avx2 amx_bf16", "mixed_bfloat16"),
        ("fpu avx2 avx512f", "float32"),
    ],
)
def test_choose_dtype_asks_the_processor(flags, dtype, monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\n")
    monkeypatch.setattr(precision, "_CPUINFO", cpuinfo)
    assert precision.choose_dtype("auto") == dtype


def test_choose_dtype_is_float32_where_nothing_is_known(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "_CPUINFO", tmp_path / "missing")
    assert precision.choose_dtype("auto") == "float32"


@pytest.mark.parametrize(
    ("capability", "dtype"), [((8, 6), "mixed_bfloat16"), ((7, 5), "float32")]
)
def test_choose_dtype_asks_the_gpu(capability, dtype, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["g"])
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {"compute_capability": capability},
    )
    assert precision.choose_dtype("auto") == dtype
