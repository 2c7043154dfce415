import os

import pytest

from realm_tf import _resources
from realm_tf.errors import ResourceError


def test_memory_is_that_of_the_machine_or_its_container(tmp_path, monkeypatch):
    unlimited, limited = tmp_path / "max", tmp_path / "limit"
    unlimited.write_text("max\n")
    limited.write_text("123456\n")
    missing = tmp_path / "none"
    monkeypatch.setattr(_resources, "_LIMITS", (unlimited, missing))
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert _resources.memory_bytes() == machine
    monkeypatch.setattr(_resources, "_LIMITS", (missing, limited))
    assert _resources.memory_bytes() == 123456


def test_what_is_needed_and_found_is_told():
    said = {"task": "This", "advice": "Use less"}
    _resources.require("memory", 2 * 10**9, 2 * 10**9, **said)
    with pytest.raises(ResourceError) as error:
        _resources.require("memory", 3 * 10**9, 2 * 10**9, **said)
    assert str(error.value) == (
        "This needs 3.0 GB of memory. Received: 2.0 GB. Use less, or pass "
        "`force=True` to try it all the same."
    )
