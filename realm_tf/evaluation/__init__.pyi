from realm_tf.evaluation.calibration import Calibration as Calibration
from realm_tf.evaluation.confidence import Confidence as Confidence
from realm_tf.evaluation.evaluator import evaluate as evaluate
from realm_tf.evaluation.recall import answer_recall_at_k as answer_recall_at_k
from realm_tf.evaluation.recall import block_recall_at_k as block_recall_at_k
from realm_tf.evaluation.report import Report as Report
