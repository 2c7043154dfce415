from realm_tf.data.corpus.articles import read_articles as read_articles
from realm_tf.data.corpus.blocks import Article as Article
from realm_tf.data.corpus.blocks import Block as Block
from realm_tf.data.corpus.corpus import Corpus as Corpus
from realm_tf.data.corpus.corpus_builder import build_corpus as build_corpus
from realm_tf.data.questions.qrels import read_qrels as read_qrels
from realm_tf.data.questions.questions import Question as Question
from realm_tf.data.questions.questions import read_questions as read_questions
from realm_tf.data.spans.combined_tagger import CombinedTagger as CombinedTagger
from realm_tf.data.spans.date_number_tagger import (
    DateNumberTagger as DateNumberTagger,
)
from realm_tf.data.spans.salient_spans import tag_corpus as tag_corpus
from realm_tf.data.spans.sentence_masks import make_masks as make_masks
from realm_tf.data.text.featurizer import Featurizer as Featurizer
