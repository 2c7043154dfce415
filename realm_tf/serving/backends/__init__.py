"""What runs exported models: this process, or TensorFlow Serving.

No search here. Start with `backend.py`.
"""
