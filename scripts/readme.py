"""Write README.md from nbs/index.ipynb: its text, with links that lead from the top folder.

With --check, only compare."""
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ORIGIN = "<!-- Written by scripts/readme.py from nbs/index.ipynb: change that. -->\n\n"


def moved(link):
    "A match of a link's end, ](...), from the folder of notebooks -> as it must read from the top folder."
    target = link[1]
    if re.match(r"https?:|#", target): return link[0]
    return f"]({target[3:] if target.startswith('../') else 'nbs/' + target})"


def readme():
    "The text of the index; its code cells are exports and not for readers."
    cells = json.loads((ROOT / "nbs" / "index.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return ORIGIN + re.sub(r"\]\(([^)\s]+)\)", moved, text) + "\n"


if __name__ == "__main__":
    path = ROOT / "README.md"
    if "--check" in sys.argv: sys.exit(path.read_text(encoding="utf-8") != readme())
    path.write_text(readme(), encoding="utf-8")
