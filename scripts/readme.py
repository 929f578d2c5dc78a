"""Write README.md from nbs/index.ipynb: its text, with links that lead from the top folder. With --check,
only compare."""
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def readme():
    "The text of the index; its code cells are exports and not for readers."
    cells = json.loads((ROOT / "nbs" / "index.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    moved = lambda m: (
        m[0]
        if re.match(r"https?:|#", m[1])
        else f"]({m[1][3:] if m[1].startswith('../') else 'nbs/' + m[1]})"
    )
    return (
        "<!-- Written by scripts/readme.py from nbs/index.ipynb: change that. -->\n\n"
        + re.sub(r"\]\(([^)\s]+)\)", moved, text)
        + "\n"
    )


if __name__ == "__main__":
    path = ROOT / "README.md"
    if "--check" in sys.argv: sys.exit(path.read_text(encoding="utf-8") != readme())
    path.write_text(readme(), encoding="utf-8")
