"""Fresh indexes during training: snapshots, refreshers, followers.

No loss is computed here. Start with `index_refresh.py`.
"""
