"""Print the lowest versions that settings.ini allows as pins: python scripts/lowest.py EXTRA ... > lowest.txt

`pip install -c lowest.txt -e '.[EXTRA,...]'` then installs what somebody may have who never updates."""
import re
import sys
from configparser import ConfigParser
from pathlib import Path

SETTINGS = Path(__file__).resolve().parents[1] / "settings.ini"


def requirements(extras=(), path=SETTINGS):
    "The requirements of the core and of these extras in settings.ini; one may name others: msanii[train]."
    config = ConfigParser(delimiters=["="])
    config.read(path, encoding="utf-8")
    cfg = config["DEFAULT"]
    found, todo = cfg["requirements"].split(), list(extras)
    for extra in todo:
        for requirement in cfg[f"{extra}_requirements"].split():
            inner = re.fullmatch(rf"{cfg['lib_name']}\[([\w,]+)\]", requirement)
            if inner: todo += [name for name in inner[1].split(",") if name not in todo]
            else: found.append(requirement)
    return list(dict.fromkeys(found))


def pins(extras=()):
    "name==version for each of them that has a lower bound."
    bounds = [re.match(r"([\w.-]+)[^>]*>=([\w.]+)", requirement) for requirement in requirements(extras)]
    return sorted({f"{bound[1]}=={bound[2]}" for bound in bounds if bound})


if __name__ == "__main__": print("\n".join(pins(sys.argv[1:])))
