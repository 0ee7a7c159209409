"""Write certificate.json, a seed: the certificate of a removal on a chain that is gone.

    python -m tests.fuzz.make_certificate

Run it again when the format of certificates changes.
"""

import tempfile
from pathlib import Path

from tests.support.certified import begin, remove_first
from tests.support.chain import start_anvil
from tests.support.consortium import make_consortium


def main() -> None:
    with tempfile.TemporaryDirectory() as name, start_anvil() as anvil:
        folder = Path(name)
        story = begin(make_consortium(anvil, store=folder / "store"), folder)
        remove_first(story)
        story.certify()
        Path(__file__).with_name("certificate.json").write_bytes(story.path.read_bytes())


if __name__ == "__main__":
    main()
