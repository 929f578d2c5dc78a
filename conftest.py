"""How pytest runs the notebooks (nbval): two clashes with nbdev, reconciled."""
import re

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
