"""A `QuestionAnswerer` in a few lines."""

from realm_tf.evaluation.calibration import Calibration
from realm_tf.models.question_answerer import QuestionAnswerer


def describe(qa: QuestionAnswerer) -> str:
    """Sizes, sharing of weights and index of a `QuestionAnswerer`."""
    backbone = qa.reader.backbone
    parts = {
        id(part): part.count_params()  # shared weights count once
        for part in (qa.query_embedder, qa.block_embedder, qa.reader)
    }
    shared = qa.query_embedder is qa.block_embedder
    lines = [
        f"backbones: {backbone.num_layers} layers, {backbone.hidden_dim} wide, "
        f"vocabulary {qa.featurizer.vocabulary_size:,}",
        f"embedder: {qa.block_embedder.pooling} pooling, "
        f"{qa.block_embedder.embedding_dim} wide, questions and blocks "
        + ("share weights" if shared else "have their own weights"),
        f"reader: spans up to {qa.reader.max_span_width} wordpieces, "
        f"{qa.num_read} blocks read",
        f"parameters: {sum(parts.values()):,}",
    ]
    if qa.lexical_weight:
        lines.append(f"search: words with the weight {qa.lexical_weight:.2f}")
    if qa.calibration != Calibration():
        lines.append(
            f"answers: temperature {qa.calibration.temperature:.2f}, "
            f"threshold {qa.calibration.threshold:.2f}"
        )
    if qa.index is not None:
        lines.append(
            f"index: {qa.index.num_blocks:,} blocks, version "
            f"{qa.index.version}, "
            + ("exact" if qa.index.is_exact else "ScaNN")
        )
    return "\n".join(lines)
