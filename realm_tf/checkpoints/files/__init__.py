"""Files of tensors, read without executing code in the files.

No layer is built here. Start with `tensor_file.py`.
"""
