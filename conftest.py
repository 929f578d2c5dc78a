"""How pytest runs the notebooks (nbval): two clashes with nbdev, reconciled. And how its lanes keep apart."""
import os
import re
from pathlib import Path

# librosa keeps what numba compiles. Two processes that fill one such folder at once can leave the code of one
# function under the name of another, which crashes whoever loads it; so each lane of -n 2 has its own.
if lane := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).resolve().parent / "build/numba" / lane)

SKIP = re.compile(r"^\s*#\s*\|\s*eval:\s*false", re.MULTILINE)


def pytest_collection_modifyitems(config, items):
    kept, dropped = [], []
    for item in items:
        cell = getattr(item, "cell", None)
        if cell is None:
            kept.append(item)
            continue
        # nbdev_clean removes execution counts, without which nbval refuses cells that have saved outputs
        if cell.get("execution_count") is None: cell["execution_count"] = 1
        # nbdev does not run these either
        skip = SKIP.search(cell.source) or "nbdev_export()" in cell.source
        (dropped if skip else kept).append(item)
    if dropped: config.hook.pytest_deselected(items=dropped)
    items[:] = kept
