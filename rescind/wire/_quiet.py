"""Turns gRPC's own lines on stderr off; imported before gRPC is.

It writes one for each call that it refuses, without a limit, so a caller could fill the disk with them.
Errors reach the log by exceptions. Set GRPC_VERBOSITY to see the lines.
"""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")
