"""Generator of the gRPC code: python -m rescind.wire.generate [OUT]."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent


def generate(out: Path) -> None:
    """Write rescind_pb2.py, rescind_pb2.pyi and rescind_pb2_grpc.py from rescind.proto.

    Args:
        out: The folder to write to; the code imports itself as rescind.wire.generated.

    Raises:
        SystemExit: The compiler failed.
    """
    from grpc_tools import protoc

    out.mkdir(parents=True, exist_ok=True)
    status = protoc.main(
        [
            "protoc",
            f"-I{HERE}",
            f"--python_out={out}",
            f"--pyi_out={out}",
            f"--grpc_python_out={out}",
            str(HERE / "rescind.proto"),
        ]
    )
    if status:
        raise SystemExit(status)
    services = out / "rescind_pb2_grpc.py"
    # protoc writes a top-level import, which works only if the folder is on sys.path.
    text = services.read_text(encoding="utf-8")
    services.write_text(
        text.replace("import rescind_pb2 as", "from rescind.wire.generated import rescind_pb2 as"),
        encoding="utf-8",
    )
    (out / "__init__.py").touch()


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "generated")
