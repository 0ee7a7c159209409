"""Write requirements/*.txt: what is installed, with the SHA-256 of every file it may come from.

    python -m venv /tmp/uv && /tmp/uv/bin/pip install uv
    python scripts/lock_requirements.py --uv /tmp/uv/bin/uv

Versions come from constraints.txt alone. Run it after each change of constraints.txt or of the
dependencies in pyproject.toml; tests/deploy/test_requirements.py fails until then.

torch and the libraries that only torch needs are left out: a version of torch has another build for
each platform and package index, so no list of hashes holds everywhere. It is pinned by version.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
FILES = {
    "setup": ("train", "data", "serve"),
    "image": ("train", "data", "serve", "postgres"),
    "dev": ("train", "agents", "ray", "contracts", "postgres", "data", "serve", "dev"),
}
"""The extras of pyproject.toml that each file covers."""
UNHASHED = re.compile(r"^(torch|triton|nvidia-.*|cuda-.*)$")
HEAD = """\
# {what}. Made by scripts/lock_requirements.py; do not edit.
# torch is not in it: its builds differ between platforms and indexes. constraints.txt pins its version.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uv", default="uv", help="The uv to resolve with.")
    uv = parser.parse_args().uv
    FOLDER.mkdir(exist_ok=True)
    for name, extras in FILES.items():
        write(FOLDER / f"{name}.txt", f"pip install '.[{','.join(extras)}]'", resolve(uv, extras))
    write(FOLDER / "build.txt", "What builds the package", resolve_build(uv))


def resolve(uv: str, extras: tuple[str, ...]) -> str:
    """Return the lock file of the package with some extras."""
    words = [word for extra in extras for word in ("--extra", extra)]
    return compiled(uv, "pyproject.toml", *words)


def resolve_build(uv: str) -> str:
    """Return the lock file of the packages that build this one."""
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    requires = re.search(r"^requires = \[\"([^\"]+)\"\]$", pyproject, re.M)
    if requires is None:
        sys.exit("pyproject.toml has no [build-system] with one required package")
    return compiled(uv, "-", given=requires.group(1))


def compiled(uv: str, source: str, *words: str, given: str | None = None) -> str:
    command = [uv, "pip", "compile", source, "--quiet", "--universal", "--generate-hashes"]
    command += ["--python-version", "3.11", "--constraints", "constraints.txt"]
    command += ["--no-header", "--no-annotate", "--allow-unsafe", *words]
    done = subprocess.run(
        command, cwd=ROOT, input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def write(path: Path, what: str, text: str) -> None:
    """Write a lock file without the packages that cannot have one list of hashes."""
    blocks = re.split(r"^(?=\S)", text, flags=re.M)
    kept = [
        block for block in blocks if not UNHASHED.match(re.split(r"[=\s]", block, maxsplit=1)[0])
    ]
    path.write_text(HEAD.format(what=what) + "".join(kept), encoding="utf-8")


if __name__ == "__main__":
    main()
