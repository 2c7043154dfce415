"""The names that users may rely on. Everything else may move."""

import importlib
import inspect

import pytest

import realm_tf
from realm_tf import errors, options

SURFACE = {
    "realm_tf": """
        Answer BlockIndex Corpus Embedder KnowledgeAugmentedEncoder
        ModelServerClient Question RealmClient RealmPretrainer RealmQA
        Retriever SpanReader __version__
        checkpoints client data errors evaluation layers losses metrics models
        optimizers options retrieval training
    """,
    "realm_tf.checkpoints": "load",
    "realm_tf.client": "RealmClient",
    "realm_tf.data": """
        Article Block Corpus DateNumberTagger Featurizer Question build_corpus
        make_masks read_articles read_questions tag_corpus
    """,
    "realm_tf.evaluation": """
        Report answer_recall_at_k block_recall_at_k evaluate
    """,
    "realm_tf.layers": """
        Embedder KnowledgeAugmentedEncoder Retriever SpanReader TokenClassifier
    """,
    "realm_tf.losses": """
        InBatchLoss MarginalLoss marginal_log_likelihood marginal_mlm_loss
        reader_loss retrieval_loss retrieval_utility token_log_probs
    """,
    "realm_tf.metrics": "AnswerRecallAtK exact_match reader_oracle",
    "realm_tf.models": """
        DualEncoder EntityTagger InverseClozePretrainer OpenQA RealmPretrainer
        RealmQA
    """,
    "realm_tf.optimizers": """
        BertAdamW SyncedLossScaleOptimizer WarmupLinearDecay
    """,
    "realm_tf.retrieval": """
        BlockIndex BruteForceSearcher EmbeddingWriter ScannSearcher
        SearchResult searcher_recall_at_k
    """,
    "realm_tf.training": """
        finetune pretrain_inverse_cloze pretrain_masked_words read_log
        train_tagger
    """,
}
ERRORS = """
    BackendError BadRecordError BadRequestError CheckpointError ExportError
    FolderError GivenUpError LockedError MismatchError RealmError RecallError
    ScannBuildError ServiceUnavailableError TooLargeError UnknownDocumentError
    UnknownVersionError UnsafePickleError
"""
OPTIONS = """
    ExportOptions FinetuneOptions InverseClozeOptions LoadOptions
    MaskedSentenceOptions ReadingOptions RefreshOptions ScannOptions
    ServiceOptions TrainingOptions
"""
NAMES = {package: names.split() for package, names in SURFACE.items()}


@pytest.mark.parametrize("package", NAMES)
def test_public_surface_equals_this_list(package):
    module = importlib.import_module(package)
    assert dir(module) == module.__all__ == NAMES[package]
    for name in NAMES[package]:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = module.Nothing


def test_public_classes_without_tensorflow_equal_this_list():
    classes = dict(inspect.getmembers(errors, inspect.isclass))
    assert list(classes) == ERRORS.split()
    assert options.__all__ == OPTIONS.split()


def test_one_name_is_one_thing():
    for package in NAMES:
        module = importlib.import_module(package)
        for name in set(module.__all__) & set(realm_tf.__all__):
            assert getattr(module, name) is getattr(realm_tf, name)


def test_rooms_without_a_list_have_no_public_names():
    for package in ("engine", "serving"):
        module = importlib.import_module(f"realm_tf.{package}")
        assert not hasattr(module, "__all__")
