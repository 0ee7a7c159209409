"""Write the table of failures of providers into docs/chains.md: python scripts/faults_table.py"""

from __future__ import annotations

from pathlib import Path

from rescind.contracts.faults import faults_table

PAGE = Path(__file__).resolve().parent.parent / "docs" / "chains.md"
BEGIN = "<!-- faults: begin (scripts/faults_table.py) -->"
END = "<!-- faults: end -->"


def main() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{faults_table()}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
