"""The names that users may rely on. Everything else may move."""

import ast
import importlib
import inspect
import json
import pathlib
import re
import subprocess
import sys

import pytest

import realm_tf
from realm_tf import errors, options

ROOT = pathlib.Path(realm_tf.__file__).parents[1]
FOLDERS = ("benchmarks", "export", "scripts")
SURFACE = {
    "realm_tf": """
        Answer BlockIndex Corpus Embedder KnowledgeAugmentedEncoder
        ModelServerClient Question RealmClient RealmPretrainer RealmQA
        Retriever SpanReader __version__
        checkpoints client data errors evaluation layers losses metrics models
        optimizers options pipelines retrieval training
    """,
    "realm_tf.checkpoints": "export_preset load",
    "realm_tf.cli": "main",
    "realm_tf.client": "RealmClient",
    "realm_tf.data": """
        Article Block CombinedTagger Corpus DateNumberTagger Featurizer
        Question build_corpus make_masks read_articles read_qrels
        read_questions tag_corpus
    """,
    "realm_tf.evaluation": """
        Calibration Confidence RankingReport Report RetrievalReport
        answer_recall_at_k block_recall_at_k evaluate evaluate_run read_run
        write_run
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
    "realm_tf.pipelines": "BuildCorpus BuildIndex run_pipeline",
    "realm_tf.retrieval": """
        BlockIndex BruteForceSearcher EmbeddingWriter IndexPlan ScannSearcher
        SearchResult searcher_recall_at_k
    """,
    "realm_tf.training": """
        FixedIndex MaskedSentenceDataset finetune new_encoder
        pretrain_inverse_cloze pretrain_masked_words read_log train_tagger
        write_masked_features
    """,
}
ERRORS = """
    BackendError BackendFullError BadRecordError BadRequestError
    CheckpointError ExportError FolderError GivenUpError LockedError
    MismatchError NotWriterError PipelineError RealmError RecallError
    ResourceError ScannBuildError
    ServiceUnavailableError TooLargeError UnknownDocumentError
    UnknownVersionError UnsafePickleError
"""
OPTIONS = """
    ExportOptions FinetuneOptions InverseClozeOptions LoadOptions
    MaskedSentenceOptions ReadingOptions RefreshOptions ScannOptions
    ServiceOptions TaggerOptions TrainingOptions
"""
NAMES = {package: names.split() for package, names in SURFACE.items()}


@pytest.mark.parametrize("package", NAMES)
def test_public_surface_equals_this_list(package):
    module = importlib.import_module(package)
    assert list(module.__all__) == NAMES[package]
    assert set(module.__all__) <= set(dir(module))
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


USERS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("export/**/*.md"),
    *ROOT.glob("notebooks/*.ipynb"),
    *(p for folder in FOLDERS for p in ROOT.glob(f"{folder}/**/*.py")),
]


def sources(path):
    """The Python of a file: a script, code blocks, or cells."""
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return re.findall(
            r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE
        )
    if path.suffix == ".ipynb":
        cells = [
            c for c in json.loads(text)["cells"] if c["cell_type"] == "code"
        ]
        return [
            re.sub(r"^( *)[!%].*", r"\1pass", "".join(c["source"]), flags=re.M)
            for c in cells
        ]
    return [text]


def imported(source):
    """Module and name of each import from the library."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((str(node.module), a.name) for a in node.names)


@pytest.mark.parametrize("path", USERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_users_come_in_by_the_door(path):
    doors = NAMES | {
        "realm_tf.errors": ERRORS.split(),
        "realm_tf.options": OPTIONS.split(),
    }
    for source in sources(path):
        for module, name in imported(source):
            if module.split(".")[0] == "realm_tf":
                assert name in ["", *doors.get(module, ())], (module, name)


def test_sources_of_every_kind_of_file_are_found():
    found = {path.suffix: 0 for path in USERS}
    for path in USERS:
        for source in sources(path):
            names = [name for name, _ in imported(source)]
            found[path.suffix] += sum(n.startswith("realm_tf") for n in names)
    assert min(found.values()) > 0, found


def test_packages_are_imported_only_when_they_are_used():
    code = (
        "import sys, realm_tf, realm_tf.pipelines\n"
        "print([n for n in sys.modules if n in ('apache_beam', 'tensorflow')"
        " or n.startswith('realm_tf.pipelines.')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
