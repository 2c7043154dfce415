import numpy as np
import pytest

from realm_tf.errors import BackendError
from realm_tf.serving.backends.backend import Backend, ReadSpan


class Canned(Backend):
    """Answers what it was given, whatever is asked."""

    num_parallel = 1

    def __init__(self, outputs):
        self.outputs = outputs
        self.inputs = []

    def predict(self, model, signature, inputs):
        self.inputs.append(inputs)
        return self.outputs(inputs), 3


def embedded(inputs, fingerprint=b"f"):
    batch = len(next(iter(inputs.values())))
    return {
        "embedding": np.ones((batch, 2), np.float32),
        "fingerprint": np.array([fingerprint] * batch, object),
        "truncated": np.zeros(batch, bool),
    }


def read(inputs):
    return {
        "text": np.array([[b"Zo\xc3\xab", b""]], object),
        "block_position": np.array([[1, -1]]),
        "byte_start": np.array([[3, 0]]),
        "byte_end": np.array([[7, 0]]),
        "reading_probability": np.array([[0.5, 0.0]], np.float32),
        "probability": np.array([[0.25, 0.0]], np.float32),
        "fingerprint": np.array([b"r"], object),
    }


def changed(outputs, **changes):
    return Canned(lambda inputs: outputs(inputs) | changes)


def call_read(backend):
    texts = [["a", "by Zoë."]]
    return backend.read(["who?"], [["", ""]], texts, np.zeros((1, 2)), 5)


def test_embedded_questions_name_their_model():
    found = Canned(embedded).embed_questions(["a", "b"])
    assert found.embeddings.shape == (2, 2)
    assert (found.fingerprint, found.version) == ("f", 3)
    assert not found.truncated.any()


def test_texts_without_utf8_are_sent_as_the_featurizer_reads_them():
    backend = Canned(embedded)
    backend.embed_questions(["a\ud800"])
    assert backend.inputs == [{"question": [b"a?"]}]


def test_blocks_are_embedded_in_parts():
    backend = Canned(embedded)
    found = backend.embed_blocks([""] * 130, ["text"] * 130)
    assert found.embeddings.shape == (130, 2)
    assert [len(inputs["text"]) for inputs in backend.inputs] == [64, 64, 2]


def test_work_on_blocks_can_be_ended_between_parts():
    backend = Canned(embedded)

    def stop_after_one():
        if backend.inputs:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        backend.embed_blocks(
            [""] * 130, ["text"] * 130, before_part=stop_after_one
        )
    assert len(backend.inputs) == 1


def test_blocks_must_be_embedded_by_one_version():
    names = iter([b"f", b"g"])
    backend = Canned(lambda inputs: embedded(inputs, next(names)))
    with pytest.raises(BackendError, match="Several versions of the model"):
        backend.embed_blocks([""] * 65, ["text"] * 65)


def test_padded_answers_are_left_out():
    readings = call_read(Canned(read))
    assert (readings.fingerprint, readings.version) == ("r", 3)
    assert readings.threshold == 0.0  # of an export without one
    (spans,) = readings.spans
    assert spans == (ReadSpan("Zoë", 1, 3, 7, 0.5, 0.25),)


def test_threshold_is_the_reader_s():
    threshold = np.array([0.25], np.float32)
    assert call_read(changed(read, threshold=threshold)).threshold == 0.25


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("embedding", None),
        ("embedding", np.ones((1, 2), np.float32)),
        ("embedding", np.ones(2, np.float32)),
        ("embedding", np.ones((2, 2), np.int64)),
        ("embedding", np.full((2, 2), np.nan, np.float32)),
        ("fingerprint", np.array([b"f", b"g"], object)),
        ("fingerprint", np.array([b"f"], object)),
        ("truncated", np.zeros(3, bool)),
    ],
)
def test_nonsense_of_an_embedder_is_refused(name, value):
    backend = changed(embedded, **{name: value})
    with pytest.raises(BackendError, match="must answer with"):
        backend.embed_questions(["a", "b"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", np.array([["Zoe", ""]], object)),
        ("text", np.array([b"Zo"], object)),
        ("block_position", np.array([[2, -1]])),
        ("block_position", np.array([[0, -1]])),
        ("byte_start", np.array([[-4, 0]])),
        ("byte_end", np.array([[70, 0]])),
        ("byte_end", np.array([[7.0, 0.0]])),
        ("probability", np.array([[np.inf, 0.0]], np.float32)),
        ("reading_probability", None),
        ("fingerprint", None),
        ("threshold", np.array([[0.5]], np.float32)),
        ("threshold", np.array([np.nan], np.float32)),
        ("threshold", np.array([b"0.5"], object)),
    ],
)
def test_nonsense_of_a_reader_is_refused(name, value):
    with pytest.raises(BackendError, match="must answer with"):
        call_read(changed(read, **{name: value}))
