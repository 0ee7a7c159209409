"""Flower's upload of the bytes of a file: run by upload.py, in Flower's own virtual environment.

A record of one array is pushed with Flower's own client functions to Flower's own gRPC server and
object store, as a SuperNode pushes the objects of a message. The store verifies each object's
SHA-256 and keeps it in memory; nothing is written to the disk. Checks of runs and sessions are left
out. Arguments: KEY CERTIFICATE AUTHORITY PAYLOAD FOLDER. Each line of the input is one upload.
"""

import json
import multiprocessing
import socket
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from flwr.app.message.arrayrecord import ArrayRecord
from flwr.proto import fleet_pb2_grpc
from flwr.proto.message_pb2 import (
    ObjectTree,
    PushObjectResponse,
)
from flwr.proto.node_pb2 import Node
from flwr.supercore.grpc import create_channel, generic_create_grpc_server
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_push_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import push_objects
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore

RUN = 1


class Servicer(fleet_pb2_grpc.FleetServicer):
    def __init__(self) -> None:
        self.store = InMemoryObjectStore()

    def PushObject(self, request, context):  # noqa: ARG002, N802 (the name is of its .proto)
        # An object's tree is announced with its message, which is not part of this measurement.
        if request.object_id not in self.store:
            self.store.preregister(RUN, ObjectTree(object_id=request.object_id))
        self.store.put(request.object_id, request.object_content)
        return PushObjectResponse(stored=True)

    def PullMessages(self, request, context):  # noqa: ARG002, N802 (the name is of its .proto)
        """Forget everything, so that the next upload sends all again."""
        from flwr.proto.fleet_pb2 import PullMessagesResponse

        self.store.clear()
        self.store.run_objects_mapping.clear()
        return PullMessagesResponse()


def serve(address, certificates, ready) -> None:
    server = generic_create_grpc_server(
        (Servicer(), fleet_pb2_grpc.add_FleetServicer_to_server),
        address,
        certificates=certificates,
    )
    server.start()
    ready.set()
    server.wait_for_termination()


def upload(stub, data) -> float:
    from flwr.proto.fleet_pb2 import PullMessagesRequest

    stub.PullMessages(PullMessagesRequest())
    push = make_push_object_fn_protobuf(stub.PushObject, Node(node_id=1), RUN, "session")
    began = time.perf_counter()
    record = ArrayRecord([data])
    get_object_tree(record)
    push_objects(get_all_nested_objects(record), push)
    return time.perf_counter() - began


def main() -> None:
    key, certificate, authority, payload, _ = sys.argv[1:]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    root = Path(authority).read_bytes()
    certificates = (root, Path(certificate).read_bytes(), Path(key).read_bytes())
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    server = context.Process(
        target=serve, args=(f"127.0.0.1:{port}", certificates, ready), daemon=True
    )
    server.start()
    assert ready.wait(60)
    data = np.fromfile(payload, dtype=np.uint8)
    with create_channel(f"localhost:{port}", insecure=False, root_certificates=root) as channel:
        stub = fleet_pb2_grpc.FleetStub(channel)
        print(json.dumps({"flwr": version("flwr")}), flush=True)
        for _ in sys.stdin:
            print(json.dumps({"seconds": upload(stub, data)}), flush=True)
    server.terminate()


if __name__ == "__main__":
    main()
