from realm_tf.pipelines.corpus_pipeline import BuildCorpus as BuildCorpus
from realm_tf.pipelines.embedding_pipeline import BuildIndex as BuildIndex
from realm_tf.pipelines.pipeline_run import run_pipeline as run_pipeline
