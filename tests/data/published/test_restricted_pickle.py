import collections
import io
import os
import pickle
import struct

import hypothesis
import hypothesis.strategies as st
import pytest

from realm_tf.data.published.restricted_pickle import read_pickle, stream_pickle
from realm_tf.errors import UnsafePickleError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda children: (
        st.lists(children)
        | st.lists(children).map(tuple)
        | st.dictionaries(st.text(), children)
    ),
)


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@hypothesis.given(VALUES, st.integers(3, 5))
@hypothesis.settings(max_examples=60, deadline=None)
def test_plain_values_are_read_as_pickle_reads_them(value, protocol):
    data = pickle.dumps(value, protocol)
    assert read_pickle(io.BytesIO(data), {}) == value


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_old_protocols_are_read(protocol):
    value = {"a": [1, 2.5, None, True], "b": ("x", -(2**40)), "c": []}
    data = pickle.dumps(value, protocol)
    if protocol == 2:  # booleans have opcodes of their own since then
        assert read_pickle(io.BytesIO(data), {}) == value
    else:
        assert read_pickle(io.BytesIO(data), {})["b"] == value["b"]


@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_pickle_is_never_executed(tmp_path, protocol):
    mark = tmp_path / "ran"
    data = pickle.dumps([1, Malicious(mark)], protocol)
    with pytest.raises(UnsafePickleError, match=r"system, which was not run"):
        read_pickle(io.BytesIO(data), {})
    assert not mark.exists()


def test_only_allowed_names_are_called():
    value = collections.OrderedDict(a=1)
    data = pickle.dumps(value)
    allowed = {"collections.OrderedDict": dict}
    assert read_pickle(io.BytesIO(data), allowed) == {"a": 1}
    with pytest.raises(UnsafePickleError, match="collections.OrderedDict"):
        read_pickle(io.BytesIO(data), {})


def test_a_call_of_what_a_call_returned_is_refused():
    # OrderedDict()() by hand: REDUCE twice.
    data = b"ccollections\nOrderedDict\n(tR(tR."
    with pytest.raises(UnsafePickleError, match="a call of {}"):
        read_pickle(io.BytesIO(data), {"collections.OrderedDict": dict})


@pytest.mark.parametrize(
    "data", [b"(icollections\nOrderedDict\n.", b"\x82\x01.", b"I1\nP0\n."]
)
def test_other_operations_are_refused(data):
    with pytest.raises(UnsafePickleError, match="the operation|must be whole"):
        read_pickle(io.BytesIO(data), {})


def test_a_state_is_passed_to_the_object_that_wants_it():
    class Thing:
        def set_state(self, state):
            self.state = state

    data = pickle.dumps(Keeper())
    calls = {f"{Keeper.__module__}.new": lambda: Thing()}
    assert read_pickle(io.BytesIO(data), calls).state == {"x": 1}


def new():
    return Keeper()


class Keeper:
    def __reduce__(self):
        return new, (), {"x": 1}


def test_persistent_ids_are_loaded_by_the_caller():
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return "key" if isinstance(value, Keeper) else None

    file = io.BytesIO()
    Pickler(file, 2).dump([Keeper()])
    file.seek(0)
    assert read_pickle(file, {}, persistent_load=list) == [["k", "e", "y"]]
    file.seek(0)
    with pytest.raises(UnsafePickleError, match="operation BINPERSID"):
        read_pickle(file, {})


@pytest.mark.parametrize("size", [2**40, 2**62])
def test_an_announced_size_is_refused_before_it_is_allocated(size):
    data = b"\x80\x04\x8e" + struct.pack("<Q", size) + b"abc"
    with pytest.raises(UnsafePickleError, match=f"{size} bytes announced"):
        read_pickle(io.BytesIO(data), {})


def test_every_cut_is_refused():
    data = pickle.dumps([b"one", {"two": 3}])
    for end in range(len(data)):
        with pytest.raises(UnsafePickleError):
            read_pickle(io.BytesIO(data[:end]), {})


def test_a_memo_with_holes_is_refused():
    with pytest.raises(UnsafePickleError, match="memo 4000000000"):
        read_pickle(io.BytesIO(b"Nr\x00(k\xee."), {})


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_long_list_is_streamed_with_its_repetitions(protocol):
    shared = b"the same object"
    value = [b"", b"x", shared, b"y", shared, b"", *[bytes([7]) * 300] * 3]
    value += [b"%d" % i for i in range(3000)]
    seen = []
    checked = []
    data = io.BytesIO(pickle.dumps(("head", value), protocol))
    for items in stream_pickle(data, {}, checked.append):
        seen += items
    assert seen == value
    assert checked == [("head", [])]
