import time, pytest, sys

sys.path.insert(0, "/work/main/tests/training")
from realm_tf.training.finetuning import *


@pytest.mark.parametrize("lr,ep", [(2e-3, 3), (1e-2, 3)])
def test_p(lr, ep, make_qa, town_corpus, town_questions):
    qa = make_qa(width=8)
    r = finetune(
        qa,
        town_corpus,
        town_questions * 3,
        FinetuneOptions(
            retriever_epochs=0,
            epochs=ep,
            batch_size=4,
            learning_rate=lr,
            num_retrieved=6,
        ),
    )
    with open("/tmp/probe.txt", "a") as f:
        f.write(f"{lr} {ep} {r.history} {time.process_time()}\n")
