"""Play stories, each a line of standard input in JSON with the arguments of `play`.

Their outcomes are lines of standard output. One process plays many, because its imports take longer
than a story.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.support.provider_story.story import play


def main() -> None:
    """Play every story of standard input."""
    for line in sys.stdin:
        arguments = json.loads(line)
        outcome = play(Path(arguments.pop("folder")), **arguments)
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
