"""Files of tensors, read without running what is in them.

No layer is built here. Start with `tensor_file.py`.
"""
