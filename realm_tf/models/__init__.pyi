from realm_tf.models.dual_encoder import DualEncoder as DualEncoder
from realm_tf.models.entity_tagger import EntityTagger as EntityTagger
from realm_tf.models.inverse_cloze_pretrainer import (
    InverseClozePretrainer as InverseClozePretrainer,
)
from realm_tf.models.open_qa import OpenQA as OpenQA
from realm_tf.models.realm_pretrainer import RealmPretrainer as RealmPretrainer
from realm_tf.realm_qa import RealmQA as RealmQA
