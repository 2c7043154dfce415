"""Random models of transformers 4.38, exported and imported, then compared.

Run with `pytest -m parity`, in an environment with the extra `[bench]`.
"""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from realm_tf.checkpoints import load
from realm_tf.checkpoints.exporting import export_hugging_face
from realm_tf.checkpoints.variable_names import (
    EMBEDDER,
    ENCODER,
    HUGGING_FACE,
    READER,
    PartNames,
    keras_path,
)
from realm_tf.layers.retriever import Retriever
from realm_tf.layers.spans import gold_span_mask
from realm_tf.losses.marginal_likelihood import (
    marginal_mlm_loss,
    token_log_probs,
)
from realm_tf.losses.orqa_losses import reader_loss, retrieval_loss
from realm_tf.optimizers.bert_adamw import BertAdamW
from realm_tf.optimizers.warmup_linear_decay import WarmupLinearDecay

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # of the other libraries
]

VOCABULARY = pathlib.Path(__file__).parents[1] / "fixtures/vocab_small.txt"
SIZE = len(VOCABULARY.read_text("utf-8").splitlines())
BATCH, CANDIDATES, LENGTH, NUM_STEPS = 2, 3, 10, 8


@pytest.fixture(scope="module")
def hub():
    pytest.importorskip("torch")
    return pytest.importorskip("transformers", minversion="4.38.2")


@pytest.fixture
def make(hub, tmp_path):
    """Builds a random model, and loads what it saved."""
    import torch

    def build(name):
        config = hub.RealmConfig(
            vocab_size=SIZE,
            hidden_size=16,
            retriever_proj_size=6,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=32,
            max_position_embeddings=64,
            num_candidates=CANDIDATES,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            span_hidden_size=5,
            max_span_width=3,
            reader_beam_size=CANDIDATES,
            reader_seq_len=64,
            num_block_records=7,
        )
        torch.manual_seed(len(name))
        model = getattr(hub, name)(config).eval()
        for parameter in model.parameters():
            with torch.no_grad():
                parameter.normal_(0, 0.3)
        folder = tmp_path / name
        model.save_pretrained(folder)
        (folder / "vocab.txt").write_text(VOCABULARY.read_text("utf-8"))
        return model, load(folder).parts

    return build


def inputs(*shape, seed=0):
    rng = np.random.default_rng(seed)
    mask = (
        np.arange(shape[-1])
        < rng.integers(6, shape[-1] + 1, shape[:-1])[..., None]
    )
    segments = np.broadcast_to(np.arange(shape[-1]) > 4, shape)
    return {
        "token_ids": rng.integers(0, SIZE, shape),
        "segment_ids": segments.astype(np.int64),
        "padding_mask": mask.astype(np.int64),
    }


def as_torch(features):
    import torch

    return {
        "input_ids": torch.tensor(features["token_ids"]),
        "token_type_ids": torch.tensor(features["segment_ids"]),
        "attention_mask": torch.tensor(features["padding_mask"]),
    }


def assert_close(found, expected, atol):
    np.testing.assert_allclose(
        np.asarray(found), expected.detach().numpy(), rtol=0, atol=atol
    )


def torch_scores(model, query, blocks):
    e = model(**as_torch(query)).projected_score
    flat = {k: v.reshape(-1, LENGTH) for k, v in as_torch(blocks).items()}
    z = model(**flat).projected_score.reshape(BATCH, CANDIDATES, -1)
    return (e[:, None] * z).sum(-1)


def torch_loss(embedder, encoder, data):
    import torch

    scores = torch_scores(embedder, data["query"], data["blocks"])
    return encoder(
        **as_torch(data["joint"]),
        relevance_score=scores,
        labels=torch.tensor(data["labels"]),
        mlm_mask=torch.tensor(data["labels_mask"]),
    ).loss


def our_loss(embedder, encoder, data):
    scores = Retriever()(embedder(data["query"]), embedder(data["blocks"]))
    logits = encoder(data["joint"], mask_positions=data["positions"])
    log_probs = token_log_probs(logits, data["targets"])
    return marginal_mlm_loss(scores, log_probs, data["weights"])


@pytest.fixture
def data():
    positions = np.array([[1, 3], [2, 0]])
    targets = np.array([[9, 4], [7, 0]])
    weights = np.array([[1.0, 1.0], [1.0, 0.0]], np.float32)
    labels = np.zeros((BATCH, LENGTH), np.int64)
    mask = np.zeros((BATCH, LENGTH), np.int64)
    for row, place in ((0, 0), (0, 1), (1, 0)):
        labels[row, positions[row, place]] = targets[row, place]
        mask[row, positions[row, place]] = 1
    return {
        "query": inputs(BATCH, LENGTH, seed=1),
        "blocks": inputs(BATCH, CANDIDATES, LENGTH, seed=2),
        "joint": inputs(BATCH, CANDIDATES, LENGTH, seed=3),
        "positions": positions,
        "targets": targets,
        "weights": weights,
        "labels": labels,
        "labels_mask": mask,
    }


def test_embeddings_and_scores(make, data):
    model, parts = make("RealmEmbedder")
    embedder = parts.query_embedder
    expected = model(**as_torch(data["query"])).projected_score
    assert_close(embedder(data["query"]), expected, 1e-5)
    scores = Retriever()(embedder(data["query"]), embedder(data["blocks"]))
    expected = torch_scores(model, data["query"], data["blocks"])
    assert_close(scores, expected, 1e-4)


def test_log_probabilities_loss_and_gradients(make, data):
    scorer, embedder_parts = make("RealmEmbedder")
    model, parts = make("RealmKnowledgeAugEncoder")
    embedder, encoder = embedder_parts.query_embedder, parts.encoder
    loss = torch_loss(scorer, model, data)
    loss.backward()
    with tf.GradientTape() as tape:
        found = our_loss(embedder, encoder, data)
    assert_close(found, loss, 1e-5)
    variables = embedder.trainable_weights + encoder.trainable_weights
    gradients = tape.gradient(found, variables)
    layers = [(embedder, EMBEDDER, scorer), (encoder, ENCODER, model)]
    compared = 0
    for layer, kind, source in layers:
        names = PartNames(kind, HUGGING_FACE, "realm.")
        expected = dict(source.named_parameters())
        for variable, gradient in zip(variables, gradients, strict=True):
            if not any(variable is own for own in layer.trainable_weights):
                continue
            path = keras_path(variable.path, layer.name)
            value = tf.convert_to_tensor(gradient).numpy()
            assert_close(
                names.to_source(path, value),
                expected[names.of(path)].grad,
                1e-5,
            )
            compared += 1
    assert compared == len(variables)


def test_eight_steps_of_training(make, data):
    import torch

    scorer, embedder_parts = make("RealmEmbedder")
    model, parts = make("RealmKnowledgeAugEncoder")
    embedder, encoder = embedder_parts.query_embedder, parts.encoder
    # The optimizer makes as much of a gradient that is a rounding error as of
    # any other, so weights differ in proportion to the learning rate.
    schedule = WarmupLinearDecay(1e-3, 20, num_warmup_steps=3)
    # PyTorch sums the rows of a table before it takes the norm.
    optimizer = BertAdamW(schedule, official_clipping=False)
    variables = embedder.trainable_weights + encoder.trainable_weights
    theirs = {
        f"{i}{name}": parameter
        for i, source in enumerate((scorer, model))
        for name, parameter in source.named_parameters()
    }
    slots = {name: [0.0, 0.0] for name in theirs}
    before = {n: p.detach().numpy().copy() for n, p in theirs.items()}
    for step in range(NUM_STEPS):
        loss = torch_loss(scorer, model, data)
        for parameter in theirs.values():
            parameter.grad = None
        loss.backward()
        torch_step(theirs, slots, float(schedule(step)), torch)
        with tf.GradientTape() as tape:
            found = our_loss(embedder, encoder, data)
        optimizer.apply_gradients(
            zip(tape.gradient(found, variables), variables, strict=True)
        )
        np.testing.assert_allclose(float(found), loss.item(), rtol=1e-4)
    for i, (layer, kind) in enumerate(
        ((embedder, EMBEDDER), (encoder, ENCODER))
    ):
        names = PartNames(kind, HUGGING_FACE, "realm.")
        for variable in layer.trainable_weights:
            path = keras_path(variable.path, layer.name)
            name = f"{i}{names.of(path)}"
            expected = theirs[name].detach().numpy()
            error = names.to_source(path, variable.numpy()) - expected
            assert np.abs(error).max() <= 1e-4 * np.abs(expected).max(), path
            # Key biases have no gradient, so they do not move at all.
            moved = np.linalg.norm(expected - before[name])
            assert np.linalg.norm(error) <= 1e-3 * moved + 1e-6, path


def torch_step(parameters, slots, lr, torch):
    """One step of BERT's optimizer: no bias correction, decoupled decay."""
    live = {n: p for n, p in parameters.items() if p.grad is not None}
    norm = torch.sqrt(sum((p.grad**2).sum() for p in live.values()))
    with torch.no_grad():
        for name, parameter in live.items():
            gradient = parameter.grad / max(float(norm), 1.0)
            m, v = slots[name]
            m = 0.9 * m + 0.1 * gradient
            v = 0.999 * v + 0.001 * gradient**2
            slots[name] = [m, v]
            update = m / (torch.sqrt(torch.as_tensor(v)) + 1e-6)
            if not any(x in name for x in ("LayerNorm", "bias")):
                update = update + 0.01 * parameter
            parameter -= lr * update


def test_reader_logits_losses_and_choice(make):
    import torch

    model, parts = make("RealmReader")
    features = inputs(CANDIDATES, LENGTH, seed=5)
    block_mask = features["segment_ids"] * features["padding_mask"]
    scores = np.array([0.3, 0.7, -0.2], np.float32)
    starts = np.array([[5], [-1], [5]])
    ends = np.array([[5], [-1], [6]])
    has_answers = np.array([True, False, True])
    expected = model(
        **as_torch(features),
        relevance_score=torch.tensor(scores),
        block_mask=torch.tensor(block_mask),
        start_positions=torch.tensor(starts),
        end_positions=torch.tensor(ends),
        has_answers=torch.tensor(has_answers),
        return_dict=True,
    )
    joint = {name: value[None] for name, value in features.items()}
    logits = parts.reader(joint, block_mask=block_mask[None])
    states = model.realm(**as_torch(features))[0]
    theirs, _, _ = model.qa_outputs(states, torch.tensor(block_mask))
    is_span = theirs.detach().numpy() > -1e8
    np.testing.assert_allclose(
        logits[0].numpy()[is_span],
        theirs.detach().numpy()[is_span],
        rtol=0,
        atol=2e-5,
    )
    gold = gold_span_mask(starts, ends, LENGTH, 3)[None]
    found = reader_loss(logits, scores[None], gold)
    assert_close(found[0], expected.reader_loss, 1e-5)
    found = retrieval_loss(scores[None], has_answers[None])
    assert_close(found[0], expected.retriever_loss, 1e-5)
    best = np.unravel_index(
        np.argmax(logits[0] + scores[:, None]), logits[0].shape
    )
    assert best[0] == int(expected.block_idx)
    assert best[1] == int(expected.candidate)


def test_the_reader_has_the_names_of_its_variables(make):
    model, parts = make("RealmReader")
    names = PartNames(READER, HUGGING_FACE, "realm.")
    state = model.state_dict()
    for variable in parts.reader.weights:
        path = keras_path(variable.path, "reader")
        value = names.to_source(path, variable.numpy())
        np.testing.assert_array_equal(value, state[names.of(path)].numpy())


@pytest.mark.parametrize(
    "name", ["RealmEmbedder", "RealmReader", "RealmKnowledgeAugEncoder"]
)
def test_what_we_export_transformers_loads(hub, make, tmp_path, name):
    import torch

    model, parts = make(name)
    export_hugging_face(parts, tmp_path / "out", name)
    again = getattr(hub, name).from_pretrained(tmp_path / "out").eval()
    unused = "" if name == "RealmKnowledgeAugEncoder" else "cls.predictions."
    for key, value in model.state_dict().items():
        if not unused or not key.startswith(unused):
            assert torch.equal(again.state_dict()[key], value), key
