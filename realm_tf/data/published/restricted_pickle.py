"""Pickles read by an interpreter that can only build plain values.

`pickletools` takes the operations apart without running any of them. What they
build here are numbers, texts, bytes, tuples, lists and dicts, and what the
caller's own functions make of them. No module is imported and nothing that the
file names is called, so a file from anywhere is safe to open.
"""

import array
import os
import pickletools
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from realm_tf.errors import UnsafePickleError

# What is wrong with a value shows when it is used.
_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
Calls = Mapping[str, Callable[..., Any]]

_MARK = object()
_PUSHED = frozenset(
    "BININT BININT1 BININT2 INT LONG LONG1 LONG4 BINFLOAT FLOAT "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 UNICODE "
    "STRING BINSTRING SHORT_BINSTRING".split()
)
_BYTES = frozenset(("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"))
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")


def read_pickle(
    file: IO[bytes],
    calls: Calls,
    *,
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """Reads one pickle, from where `file` stands to its STOP.

    Args:
        file: seekable binary file.
        calls: what may be named, as "module.name", and what stands for it.
            Nothing else is ever called.
        persistent_load: makes the value of a persistent id.

    Raises:
        UnsafePickleError: at the first name that is not in `calls`, at an
            operation that plain values do not need, or if data are cut off.

    Example:
    >>> import io
    >>> read_pickle(io.BytesIO(bytes.fromhex("80045d944b01612e")), {})
    [1]
    """
    machine = _Machine(file, calls, persistent_load)
    for _ in machine.run():
        pass
    return machine.result


def stream_pickle(
    file: IO[bytes], calls: Calls, check: Callable[[Any], None]
) -> Iterator[list[Any]]:
    """Reads one pickle of a long list, without holding the list.

    Args:
        file: seekable binary file.
        calls: see `read_pickle`.
        check: called at the end with the pickled value, in which every list
            is empty.

    Yields:
        Items of its lists, as many as the pickle appends at once.

    Raises:
        UnsafePickleError: see `read_pickle`.
    """
    machine = _Machine(file, calls, None, is_streaming=True)
    yield from machine.run()
    check(machine.result)


class _Bounded:
    """A file of which no operation can ask for more than there is."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        place = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(place)
        self.tell = file.tell
        self.seek = file.seek
        self.readline = file.readline

    def read(self, size: int) -> bytes:
        # Python would allocate all of it before it reads.
        if size > 65_536 and size > self._size - self.tell():
            raise UnsafePickleError(
                "A pickle must hold what it announces. Received: "
                f"{size} bytes announced at byte {self.tell()} of "
                f"{self._size}. Download the file again."
            )
        return self._file.read(size)


class _Machine:
    """The stack, the memo and the operations of the pickle format."""

    def __init__(
        self,
        file: IO[bytes],
        calls: Calls,
        persistent_load: Callable[[Any], Any] | None,
        is_streaming: bool = False,
    ):
        self.result: Any = None
        self._file: Any = _Bounded(file)
        self._calls = calls
        self._persistent_load = persistent_load
        self._is_streaming = is_streaming
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        # Where memoized bytes begin, else -1: 8 bytes for each, where the
        # records of Wikipedia themselves are 8 GB.
        self._places = array.array("q")
        self._place = 0

    def run(self) -> Iterator[list[Any]]:
        """Runs to STOP; yields appended items if it is streaming."""
        try:
            for operation, argument, place in pickletools.genops(self._file):
                items = self._step(operation.name, argument, place)
                if items:
                    yield items
        except UnsafePickleError:
            raise
        except _ERRORS as error:
            raise UnsafePickleError(
                "A pickle must be whole. Received: "
                f"{type(error).__name__}: {str(error)[:200]} at byte "
                f"{self._file.tell()}. Download the file again."
            ) from error
        if len(self._stack) != 1:
            raise UnsafePickleError(
                "A pickle must hold one value. Received: "
                f"{len(self._stack)}. Download the file again."
            )
        self.result = self._stack.pop()

    def _step(
        self, name: str, argument: Any, place: int | None
    ) -> list[Any] | None:
        stack = self._stack
        if name in _BYTES:
            stack.append(argument)
            self._place = place or 0
        elif name == "MEMOIZE":
            self._put(len(self._places))
        elif name in _PUTS:
            self._put(argument)
        elif name in _GETS:
            stack.append(self._get(argument))
        elif name in ("APPENDS", "APPEND"):
            items = self._popped() if name == "APPENDS" else [stack.pop()]
            return self._append(items)
        elif name in _PUSHED:
            stack.append(argument)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        else:
            self._build(name, argument)
        return None

    def _build(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _TUPLES:
            size = _TUPLES[name]
            stack[-size:] = [tuple(stack[-size:])]
        elif name == "TUPLE":
            stack.append(tuple(self._popped()))
        elif name == "LIST":
            stack.append(self._popped())
        elif name == "DICT":
            stack.append(_pairs(self._popped()))
        elif name == "SETITEMS":
            pairs = _pairs(self._popped())
            stack[-1].update(pairs)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][plain_key(key)] = value
        elif name == "GLOBAL":
            stack.append(self._named(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(self._named(".".join((module, attribute))))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            # By identity: what is compared may be of any size.
            if not any(function is known for known in self._calls.values()):
                raise _refused(f"a call of {reprlib.repr(function)}")
            stack.append(function(*arguments))
        elif name == "BUILD":
            state = stack.pop()
            if hasattr(stack[-1], "set_state"):
                stack[-1].set_state(state)
        elif name == "BINPERSID" and self._persistent_load is not None:
            stack.append(self._persistent_load(stack.pop()))
        elif name == "POP":
            stack.pop()
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise _refused(f"the operation {name}")

    def _popped(self) -> list[Any]:
        """What is above the last mark."""
        stack = self._stack
        place = len(stack) - 1
        while stack[place] is not _MARK:  # IndexError without a mark
            place -= 1
        items = stack[place + 1 :]
        del stack[place:]
        return items

    def _append(self, items: list[Any]) -> list[Any] | None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise _refused(f"an append to {type(target).__name__}")
        if self._is_streaming:
            return items
        target.extend(items)
        return None

    def _named(self, name: str) -> Callable[..., Any]:
        if name not in self._calls:
            raise _refused(name)
        return self._calls[name]

    def _put(self, number: int) -> None:
        if number > len(self._places):
            raise _refused(f"memo {number} after {len(self._places)}")
        if number == len(self._places):
            self._places.append(-1)
        value = self._stack[-1]
        if self._is_streaming and isinstance(value, bytes):
            self._places[number] = self._place
        else:
            self._places[number] = -1
            self._memo[number] = value

    def _get(self, number: int) -> Any:
        place = self._places[number]
        if place < 0:
            return self._memo[number]
        back = self._file.tell()
        self._file.seek(place)
        _, value, _ = next(pickletools.genops(self._file))
        self._file.seek(back)
        self._place = place
        return value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    keys = map(plain_key, items[::2])
    return dict(zip(keys, items[1::2], strict=True))


def plain_key(key: Any) -> Any:
    """A key of a dict, checked to be no tuple.

    A small pickle can nest tuples such that their hash takes for ever.

    Raises:
        UnsafePickleError: if it is one, or can be no key at all.
    """
    if not isinstance(key, str | bytes | int | float | None):
        raise _refused(f"a key of the type {type(key).__name__}")
    return key


def _refused(what: str) -> UnsafePickleError:
    return UnsafePickleError(
        "A pickle must hold plain values only. Received: "
        f"{what}, which was not run. Do not trust this file; take the "
        "checkpoint as safetensors, or from its publisher."
    )
