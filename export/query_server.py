"""Starts the query service of an exported bundle.

python export/query_server.py --bundle bundle --backend grpc://127.0.0.1:8500

The same as `realm-tf serve`.
"""

import sys

from realm_tf.cli import main

if __name__ == "__main__":
    main(["serve", *sys.argv[1:]])
