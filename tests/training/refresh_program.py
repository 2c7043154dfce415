"""A refresher that is meant to be killed; see test_refresher_killed.py.

refresh_program.py EXCHANGE
"""

import sys

from realm_tf.realm_qa import RealmQA
from realm_tf.training.refresh.exchange import Exchange
from realm_tf.training.refresh.refresher import Refresher

exchange = Exchange(sys.argv[1])
qa = RealmQA.from_preset(exchange.model)
refresher = Refresher(
    exchange,
    exchange.open_corpus(),
    qa.featurizer,
    qa.query_embedder,
    qa.block_embedder,
)
step = exchange.newest_snapshot()
while True:
    print("ready", flush=True)
    refresher.refresh()
    step += 1
    exchange.write_snapshot(step, qa.query_embedder, qa.block_embedder)
