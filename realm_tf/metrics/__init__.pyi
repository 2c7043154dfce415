from realm_tf.metrics.open_qa_metrics import AnswerRecallAtK as AnswerRecallAtK
from realm_tf.metrics.open_qa_metrics import exact_match as exact_match
from realm_tf.metrics.open_qa_metrics import reader_oracle as reader_oracle
