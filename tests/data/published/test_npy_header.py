import io

import numpy as np
import pytest

from realm_tf.data.published.npy_header import read_npy_header


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_header_ends_where_the_array_begins(version):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ones((2, 3), "<f4"), version)
    file.seek(0)
    assert read_npy_header(file) == ((2, 3), np.dtype("<f4"))
    assert file.read() == np.ones(6, "<f4").tobytes()


def test_other_files_are_refused():
    with pytest.raises(ValueError, match="magic"):
        read_npy_header(io.BytesIO(b"nothing of NumPy's"))
