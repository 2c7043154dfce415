"""What training needs beside a model: optimizer, schedule, data, callbacks.

No layers and no losses here. Start with `optimizers.py`, and with
`finetuning.py` for a whole run.
"""
