"""Readers of single file formats: JSON, tables, Markdown and HTML.

Which file is read by which is in `realm_tf.data.corpus.article_formats`, and
which files of a folder are read at all in `folder_files`.
"""
