"""What the commands share: options, progress, tables and how answers look.

No command is defined here. Start with `options.py`.
"""
