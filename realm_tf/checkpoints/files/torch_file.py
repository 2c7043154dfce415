"""Arrays of a `pytorch_model.bin`, without PyTorch and without unpickling."""

import math
import os
import reprlib
import struct
import zipfile
from typing import IO, Any, NamedTuple

import ml_dtypes
import numpy as np

from realm_tf.checkpoints.files.tensor_file import TensorFile
from realm_tf.data.published.restricted_pickle import plain_key, read_pickle
from realm_tf.errors import UnsafePickleError

_DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_PICKLE_BYTES = 256 * 2**20  # names and shapes; BERT-base has 20 KB
_LOCAL_HEADER = struct.Struct("<26xHH")


class _Storage(NamedTuple):
    """A run of numbers of the file.

    Args:
        key: its name.
        dtype: of the numbers.
        size: how many.
    """

    key: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    """A view of a storage; strides count numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class TorchFile(TensorFile):
    """Arrays of a state dict that `torch.save` wrote.

    Both layouts are read: the zip file of PyTorch 1.6 and later, and the
    pickles one after the other of earlier ones. Numbers are mapped into
    memory, in the size that the file has and not in the one it claims.

    Args:
        path: the file.

    Raises:
        CheckpointError: if it is damaged.
        UnsafePickleError: if it names anything but tensors. Nothing of it is
            run in any case.
    """

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(path)
        self._places: dict[str, int] = {}  # storage -> first byte
        self._sizes: dict[str, int] = {}  # storage -> bytes
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                content = self._read_zip(file)
            else:
                file.seek(0)
                content = self._read_legacy(file)
        self._tensors = dict(self._tensors_of(content))
        self.shapes = {name: t.shape for name, t in self._tensors.items()}

    def read(self, name: str) -> np.ndarray:
        tensor = self._tensors[name]
        storage = tensor.storage
        numbers = np.memmap(
            self.path,
            storage.dtype,
            "r",
            self._places[storage.key] + tensor.offset * storage.dtype.itemsize,
            (_extent(tensor),) if _extent(tensor) else (1,),
        )
        strides = [n * storage.dtype.itemsize for n in tensor.strides]
        return np.lib.stride_tricks.as_strided(
            numbers, tensor.shape, strides, writeable=False
        )

    def _read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        return np.array(self.read(name)[start:stop])

    def _read_zip(self, file: IO[bytes]) -> Any:
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise self.damaged(error) from error
        content = None
        with archive:
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED:
                    raise self.damaged(f"{info.filename}, which is compressed")
                folder, _, key = info.filename.rpartition("/")
                if folder.endswith("/data"):
                    self._places[key] = self._data_start(file, info)
                    self._sizes[key] = info.file_size
                elif key == "data.pkl":
                    content = info
                elif key == "byteorder" and archive.read(info) != b"little":
                    raise self.damaged("numbers in big-endian order")
            if content is None or content.file_size > _MAX_PICKLE_BYTES:
                raise self.damaged("no data.pkl, or one of unlikely size")
            file.seek(self._data_start(file, content))
            return read_pickle(file, _CALLS, persistent_load=_storage)

    def _data_start(self, file: IO[bytes], info: zipfile.ZipInfo) -> int:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size:
            raise self.damaged(f"no {info.filename} where it should be")
        start = file.tell() + sum(_LOCAL_HEADER.unpack(header))
        if start + info.file_size > os.fstat(file.fileno()).st_size:
            raise self.damaged(f"{info.filename} beyond the end of the file")
        return start

    def _read_legacy(self, file: IO[bytes]) -> Any:
        try:
            magic = read_pickle(file, {})
        except UnsafePickleError as error:
            raise self.damaged(f"no file of PyTorch ({error})") from error
        if magic != _LEGACY_MAGIC:
            start = reprlib.repr(magic)[:40]
            raise self.damaged(f"no file of PyTorch, it begins {start}")
        for _ in range(2):  # protocol version, system information
            read_pickle(file, {})
        storages: dict[str, _Storage] = {}

        def load(pid: Any) -> _Storage:
            storage = _storage(pid)
            return storages.setdefault(storage.key, storage)

        content = read_pickle(file, _CALLS, persistent_load=load)
        keys = read_pickle(file, {})
        if not isinstance(keys, list):
            raise self.damaged("no list of its storages")
        for key in map(plain_key, keys):
            (size,) = struct.unpack("<q", file.read(8).ljust(8, b"\0"))
            if key not in storages or size != storages[key].size:
                raise self.damaged(f"storage {key} of {size} numbers")
            self._places[key] = file.tell()
            self._sizes[key] = size * storages[key].dtype.itemsize
            file.seek(self._sizes[key], os.SEEK_CUR)
        if file.tell() > os.fstat(file.fileno()).st_size:
            raise self.damaged("a file that is cut off")
        return content

    def _tensors_of(self, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(
            content.get("state_dict"), dict
        ):
            content = content["state_dict"]
        if not isinstance(content, dict):
            raise self.damaged(f"{type(content).__name__}, not a state dict")
        for name, tensor in content.items():
            if not isinstance(tensor, _Tensor):
                raise self.damaged(f"{name}, which is no tensor")
            key, dtype, _ = tensor.storage
            last = (tensor.offset + _extent(tensor)) * dtype.itemsize
            # Strides of 0 would make a huge array of a small storage.
            size = max(last, math.prod(tensor.shape) * dtype.itemsize)
            if tensor.offset < 0 or size > self._sizes.get(key, -1):
                raise self.damaged(
                    f"{name} of shape {tensor.shape}, which is more than "
                    f"the {self._sizes.get(key, 0)} bytes of its storage"
                )
            yield name, tensor


def _extent(tensor: _Tensor) -> int:
    """Numbers from the first to the last one of a tensor."""
    if not all(tensor.shape):
        return 0
    steps = zip(tensor.shape, tensor.strides, strict=True)
    return 1 + sum((size - 1) * stride for size, stride in steps)


def _storage(pid: Any) -> _Storage:
    kind, dtype, key, _, size = pid[:5]
    is_named = kind == "storage" and isinstance(key, str)
    if not is_named or not isinstance(dtype, np.dtype):
        raise ValueError(f"no storage: {reprlib.repr(pid)}")
    return _Storage(key, dtype, int(size))


def _tensor(
    storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any
) -> _Tensor:
    sizes = tuple(map(int, shape))
    steps = tuple(map(int, strides))
    if min((*sizes, *steps), default=0) < 0 or len(sizes) != len(steps):
        raise ValueError(f"a tensor of shape {sizes} and strides {steps}")
    if not isinstance(storage, _Storage):
        raise ValueError(f"a tensor of {type(storage).__name__}")
    return _Tensor(storage, int(offset), sizes, steps)


# What a state dict names. Storage classes are named only, never called: what
# stands for them is no function.
_CALLS: dict[str, Any] = {
    "collections.OrderedDict": lambda pairs=(): {
        plain_key(key): value for key, value in pairs
    },
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
} | {f"torch.{name}": np.dtype(kind) for name, kind in _DTYPES.items()}
