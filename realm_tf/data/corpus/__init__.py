"""Articles to blocks to a corpus folder, and the answers cut from them.

No questions and no search here. Start with `corpus.py` and `blocks.py`.
"""
