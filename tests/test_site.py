"""The site, as far as it can be tried without Quarto: its sidebar is the course, and no cell stops its pages
from being made."""
import ast
import importlib
import inspect
import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(p for p in (ROOT / "nbs").glob("*.ipynb") if not p.name.startswith("_"))


def test_sidebar_is_the_course():
    "All notebooks, in their order, the index first."
    site = yaml.safe_load((ROOT / "_quarto.yml").read_text())
    parts = site["website"]["sidebar"]["contents"]
    listed = [name for part in parts for name in (part["contents"] if isinstance(part, dict) else [part])]
    assert listed == ["index.ipynb", *(p.name for p in NOTEBOOKS if p.name != "index.ipynb")]


def test_narrow_and_dark():
    "Pages can be dark, and nothing that is wide makes them wider than a phone."
    how = yaml.safe_load((ROOT / "_quarto.yml").read_text())["format"]["html"]
    assert set(how["theme"]) == {"light", "dark"}
    style = (ROOT / "nbs" / how["css"]).read_text()
    assert "table {" in style and "overflow-x: auto" in style and "max-width: 100%" in style


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_imports_stand_apart(path):
    """For the API pages nbdev runs the cells that export or import something, and those alone. A cell that
    computes beside its imports finds nothing of what the cells before it made, and the site is not built."""
    mixed = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or source.startswith("#| export"): continue
        try: nodes = list(ast.walk(ast.parse(source)))
        except SyntaxError: continue  # a line for the shell; nbdev does not run it either
        kinds = lambda *types: any(isinstance(node, types) for node in nodes)
        if kinds(ast.Import, ast.ImportFrom) and kinds(ast.Expr, ast.Assign): mixed.append(source)
    assert not mixed, "put the imports into a cell of their own"


@pytest.mark.parametrize("name", [p.stem for p in sorted((ROOT / "msanii").glob("[a-z]*.py"))])
def test_every_function_has_its_entry(name):
    "The API pages describe all that is exported; where that fails, there is no site."
    from nbdev.showdoc import show_doc
    module = importlib.import_module(f"msanii.{name}")
    for what in getattr(module, "__all__", []):
        found = getattr(module, what)
        if inspect.isfunction(found) or inspect.isclass(found): assert what in str(show_doc(found))
