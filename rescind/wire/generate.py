"""Regenerate the wire code: python -m rescind.wire.generate [OUT]"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent


def generate(out: Path) -> None:
    """Write rescind_pb2.py, .pyi and rescind_pb2_grpc.py, importable as protocol.generated."""
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
    text = services.read_text(encoding="utf-8")
    services.write_text(
        text.replace("import rescind_pb2 as", "from rescind.wire.generated import rescind_pb2 as"),
        encoding="utf-8",
    )
    (out / "__init__.py").touch()


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "generated")
