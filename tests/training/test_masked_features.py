import numpy as np
import pytest

from realm_tf.data.spans.sentence_masks import RandomTokenMasks
from realm_tf.options import MaskedSentenceOptions
from realm_tf.training.masked_features import write_masked_features

OPTIONS = MaskedSentenceOptions(
    batch_size=2, num_candidates=3, query_length=24, trim=False
)


def test_batches_are_those_that_the_model_takes(make_qa, city_corpus, tmp_path):
    qa = make_qa()
    folder = tmp_path / "features"
    model = write_masked_features(
        qa, city_corpus, RandomTokenMasks(), folder, OPTIONS, num_batches=2
    )
    assert model.embedder is qa.block_embedder
    files = sorted(folder.glob("batch-*.npz"))
    assert [file.name for file in files] == [
        "batch-000000.npz",
        "batch-000001.npz",
    ]
    shapes = []
    for file in files:
        with np.load(file) as batch:
            for output in model(dict(batch)).values():
                assert np.isfinite(np.asarray(output)).all()
            shapes.append({name: batch[name].shape for name in batch})
    assert shapes[0] == shapes[1]


def test_folder_that_exists_is_left_alone(make_qa, city_corpus, tmp_path):
    with pytest.raises(FileExistsError, match=tmp_path.name):
        write_masked_features(
            make_qa(),
            city_corpus,
            RandomTokenMasks(),
            tmp_path,
            OPTIONS,
            num_batches=1,
        )
    assert not list(tmp_path.iterdir())
