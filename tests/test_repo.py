"""The repository is in step with itself: package and notebooks, saved outputs, links, settings."""
import ast
import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(p for p in (ROOT / "nbs").glob("*.ipynb") if not p.name.startswith("_"))
PACKAGE = sorted(p for p in (ROOT / "msanii").glob("*.py") if p.name != "_modidx.py")  # nbdev's own index
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    "A copy of the project in which nbdev may write."
    top = tmp_path_factory.mktemp("copy")
    ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", ".*")
    for name in ("nbs", "msanii"): shutil.copytree(ROOT / name, top / name, symlinks=True, ignore=ignore)
    for name in ("settings.ini", "setup.py", "_quarto.yml", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, top / name)
    return top


def nbdev(command, folder):
    done = subprocess.run([BIN / command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def difference(a, b, pattern):
    names = {p.relative_to(top) for top in (a, b) for p in top.glob(pattern) if not p.name.startswith(".")}
    bytes_of = lambda path: path.read_bytes() if path.exists() else None
    return sorted(str(n) for n in names if bytes_of(a / n) != bytes_of(b / n))


def test_export_leaves_no_difference(copy):
    nbdev("nbdev_export", copy)
    assert not difference(copy / "msanii", ROOT / "msanii", "*.py"), "run nbdev_export and commit the package"


def test_export_notices_a_difference(copy):
    (copy / "msanii" / "mel.py").write_text("")
    assert difference(copy / "msanii", ROOT / "msanii", "*.py") == ["mel.py"]
    nbdev("nbdev_export", copy)


def test_notebooks_are_clean(copy):
    nbdev("nbdev_clean", copy)
    assert not difference(copy / "nbs", ROOT / "nbs", "*.ipynb"), "run nbdev_clean and commit the notebooks"


def cells(path, kind):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook(path):
    "Small, with outputs saved and no error among them."
    assert path.stat().st_size < 2e6
    outputs = [o for c in cells(path, "code") for o in c["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error"]
    bars = [o for o in outputs if "%|" in "".join(o.get("data", {}).get("text/plain", ""))]
    assert not bars, "a progress bar that stays at 0%: run it by scripts/run.py"
    if path.stem == "index": return
    assert outputs, "run it before committing it"
    checked = [c for c in cells(path, "code") if "NBVAL_CHECK_OUTPUT" in "".join(c["source"])]
    unread = [c for c in checked if not c["outputs"]]
    assert not unread, "a cell whose output is to be checked has none"
    text = ["".join(c["source"]) for c in cells(path, "markdown")]
    assert re.match(r"# .+\n\n> .+", text[0]), "it opens with a title and a summary"
    assert "colab-badge" in text[1], "and a badge"
    first = "".join(cells(path, "code")[0]["source"])
    assert "google.colab" in first and "pip install" in first, "its first code cell installs on Colab"
    assert any("## Exercises" in t for t in text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_stands_alone(path):
    "On Colab no repository lies around it, and there may be a GPU."
    code = "\n".join("".join(c["source"]) for c in cells(path, "code"))
    assert not re.search(r"(Path|open)\([\"']\.\./", code), "it reads a file of the repository"
    anywhere = re.search(r"^m = Msanii\.from_pretrained\(\)", code, re.MULTILINE)
    assert not anywhere, "its own tensors are on the processor: give the model a device"


def settings():
    config = configparser.ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


COLAB = r"colab\.research\.google\.com/github/([\w.-]+)/([\w.-]+)/blob/main/nbs/([\w.-]+)\.ipynb"


def test_links_follow_from_settings():
    "The repository's address stands in settings.ini; all others must say the same."
    user, repo = settings()["user"], settings()["repo"]
    workflows = (ROOT / ".github" / "workflows").glob("*")
    files = [*NOTEBOOKS, ROOT / "README.md", ROOT / "Makefile", *workflows]
    wrong = []
    for path in files:
        text = path.read_text()
        for found in re.findall(r"github(?:\.com|usercontent\.com)?/([\w.-]+)/(msanii)\b", text):
            if found != (user, repo): wrong.append((path.name, found))
        for found in re.findall(COLAB, text):
            if found[:2] != (user, repo): wrong.append((path.name, found))
            if path.suffix == ".ipynb" and found[2] != path.stem and path.stem != "index":
                wrong.append((path.name, found))
    assert not wrong


@pytest.mark.parametrize("path", NOTEBOOKS + [ROOT / "README.md"], ids=lambda p: p.stem)
def test_links_lead_somewhere(path):
    if path.suffix == ".md": text = path.read_text()
    else: text = "\n".join("".join(c["source"]) for c in cells(path, "markdown"))
    pairs = re.findall(r"\]\(([^)#\s]+)[^)]*\)|(?:href|src)=\"([^\"#]+)\"", text)
    targets = [target for pair in pairs for target in pair if target]
    here = [target for target in targets if not re.match(r"https?:|mailto:|data:|attachment:", target)]
    assert not [target for target in here if not (path.parent / target).exists()]


def test_nothing_but_the_notebooks_writes_the_package():
    assert not [p.name for p in PACKAGE if "AUTOGENERATED" not in p.read_text()]


def test_no_pickles():
    "Weights are loaded from safetensors alone."
    pickles = (".pt", ".pth", ".pkl", ".ckpt", ".bin")
    assert not [p.name for p in (ROOT / "msanii").rglob("*") if p.suffix in pickles]
    assert not [p.name for p in PACKAGE if re.search(r"(torch|pickle|joblib)\.load\b", p.read_text())]


def test_readme_is_the_index():
    done = subprocess.run([sys.executable, ROOT / "scripts" / "readme.py", "--check"])
    assert done.returncode == 0, "run python scripts/readme.py"


def test_requirements_allow_what_torchaudio_needs():
    """Only the course needs torchaudio: it bounds both alike, below the release where they part.

    The core takes every torch from 2.6 on, and the package imports without torchaudio."""
    def bounds(name):
        found = [r for r in settings()[name].split() if r.startswith("torch")]
        return {r[: r.index(">")]: r[r.index(">"):] for r in found}
    assert bounds("requirements") == {"torch": ">=2.6"}
    assert bounds("course_requirements") == {"torch": ">=2.6,<2.12", "torchaudio": ">=2.6,<2.12"}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line.startswith("torch"))
    assert pins["torch"] == pins["torchaudio"]
    at_the_top = re.compile(r"^(from|import) torchaudio", re.MULTILINE)
    assert not [p.name for p in PACKAGE if at_the_top.search(p.read_text())]


SCRIPTS = [p for name in ("tests", "benchmarks", "scripts") for p in sorted((ROOT / name).glob("*.py"))]
SOURCES = [*PACKAGE, *SCRIPTS, ROOT / "conftest.py", ROOT / "setup.py"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_lines_are_short(path):
    "110 columns at most; but for the list of names, which nbdev writes."
    text = re.sub(r"__all__ = \[[^\]]*\]", "", path.read_text())
    assert not [line for line in text.splitlines() if len(line) > 110]


def module_of(path):
    "The module that a notebook becomes; None if it becomes none, and for the index, which takes from all."
    code = "\n".join("".join(c["source"]) for c in cells(path, "code"))
    found = re.search(r"^#\s*\|\s*default_exp (\w+)", code, re.MULTILINE)
    return found[1] if found and found[1] != "__init__" else None


COURSE = {module_of(path): path for path in NOTEBOOKS if module_of(path)}  # in the notebooks' order


def taken(path):
    "What a notebook's exported cells import from the package, at their top or inside: (module, name)."
    code = ["".join(c["source"]) for c in cells(path, "code")]
    exported = [source for source in code if re.search(r"^#\s*\|\s*export", source, re.MULTILINE)]
    for node in (node for source in exported for node in ast.walk(ast.parse(source))):
        if not isinstance(node, (ast.Import, ast.ImportFrom)): continue
        whole = isinstance(node, ast.Import)
        for alias in node.names:
            module, name = (alias.name, None) if whole else (node.module or "", alias.name)
            if module.startswith("msanii."): yield module.removeprefix("msanii."), name
            elif module == "msanii" and name in COURSE: yield name, None


@pytest.mark.parametrize("module", COURSE)
def test_imports_come_from_earlier_notebooks(module):
    earlier = list(COURSE)[: list(COURSE).index(module)]
    assert not [f"{other}.{name}" for other, name in taken(COURSE[module]) if other not in earlier]


@pytest.mark.parametrize("module", COURSE)
def test_nothing_private_is_imported(module):
    "What another module needs has a public name."
    private = re.compile(r"_(?!_)")
    assert not [f"{other}.{name}" for other, name in taken(COURSE[module]) if name and private.match(name)]
