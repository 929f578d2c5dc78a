"""What settings.ini asks for: lower bounds, pins within them, and nothing that replaces what Colab has."""
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
from lowest import pins, requirements

EXTRAS = ["train", "adapter", "evaluate", "app", "dask", "onnx", "course"]  # not dev, which has pins


def versions(path):
    "Name and version of each pin in a requirements file; what follows a semicolon is left out."
    lines = [line.split(";")[0] for line in path.read_text().splitlines() if line and line[0] != "#"]
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1].strip() for line in lines}


COLAB = versions(ROOT / "tests" / "colab.txt")


def wanted(requirement):
    "What a package needs in its turn, on Colab's Python, with the extras that the requirement names."
    extras = requirement.extras or {""}
    for text in importlib.metadata.requires(requirement.name) or []:
        need = Requirement(text)
        places = [dict(python_version="3.12", python_full_version="3.12.12", extra=e) for e in extras]
        if need.marker is None or any(need.marker.evaluate(place) for place in places): yield need


def replaced(texts):
    """What pip would replace on Colab to meet these requirements: as text, beside what Colab has.

    pip leaves alone what is installed and fits, and what that needs with it; what is not installed it brings,
    and what that needs has to fit in its turn."""
    found, seen, todo = [], set(), [Requirement(text) for text in texts]
    while todo:
        need = todo.pop()
        name = canonicalize_name(need.name)
        if name in COLAB:
            if not need.specifier.contains(COLAB[name], prereleases=True):
                found.append(f"{need}, and Colab has {COLAB[name]}")
        elif name not in seen:
            seen.add(name)
            todo += wanted(need)
    return found


@pytest.mark.parametrize("extra", [None, "train", "adapter", "evaluate", "app", "onnx", "course"])
def test_nothing_on_colab_is_replaced(extra):
    assert not replaced(requirements([extra] if extra else []))


@pytest.mark.parametrize("need", ["torch<2.11", "ipython>=8", "ipywidgets>=8", "numpy>=2.1", "psutil>=6"])
def test_a_replacement_is_noticed(need):
    assert replaced([need])


def test_what_comes_along_is_looked_at(monkeypatch):
    "pretty_midi is not on Colab: what it needs is looked at, too."
    assert "pretty-midi" not in COLAB
    monkeypatch.setitem(COLAB, "numpy", "1.0")
    assert any(line.startswith("numpy") for line in replaced(["pretty_midi"]))


def test_notebooks_install_what_is_tested_here():
    extras = set()
    for path in (ROOT / "nbs").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        for found in re.findall(r"pip install .*?msanii\[([\w,]+)\]", code): extras |= set(found.split(","))
    assert extras <= {"train", "adapter", "evaluate", "app", "course", "lyrics", "onnx"}


def test_every_requirement_has_a_lower_bound():
    bounded = lambda text: any(s.operator == ">=" for s in Requirement(text).specifier)
    assert not [text for text in requirements(EXTRAS) if not bounded(text)]


def test_lowest_prints_pins_within_the_bounds():
    command = [sys.executable, ROOT / "scripts" / "lowest.py", "course", "app", "dask"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert lines == pins(["course", "app", "dask"]) and "torch==2.6" in lines and len(lines) > 20
    lowest = dict(line.split("==") for line in lines)
    needs = [Requirement(text) for text in requirements(["course", "app", "dask"])]
    assert all(need.specifier.contains(lowest[need.name]) for need in needs)
    assert {need.name for need in needs} == set(lowest), "one lower bound for each"


def test_pinned_versions_are_within_the_bounds():
    "constraints.txt pins nothing that settings.ini forbids."
    pinned = versions(ROOT / "constraints.txt")
    needs = [Requirement(text) for text in requirements([*EXTRAS, "dev"])]
    for need in needs:
        version = pinned.get(canonicalize_name(need.name))
        assert version is None or version in need.specifier, need
