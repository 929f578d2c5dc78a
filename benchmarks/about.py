"""What the scripts share: their arguments, the line above a table that says when, by which code and on which
machine its figures came about, the table itself, and names for results that are kept."""
import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import time
from pathlib import Path

import torch

import msanii


def arguments(doc):
    "A parser whose help begins with a script's own words, as they stand."
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def commit():
    "The short name of the commit that is checked out."
    ask = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(ask, capture_output=True, text=True,
                          cwd=Path(__file__).parent).stdout.strip() or "unknown"


def processor():
    "The processor's name, without trademarks and clock."
    try: name = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError): name = platform.processor() or platform.machine()
    return " ".join(re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|\d+-Core|@.*", "", name).split())


def machine():
    "Such as '2 cores of an Intel Xeon', and the GPU if there is one."
    name = processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    article = "an" if name[:1] in "AEIOUaeiou" else "a"
    found = f"{cores} core{'s' * (cores > 1)} of {article} {name}"
    return f"{found}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else found


def about(*more, threads=None, commits=None):
    """The line above a table: date, commit, machine, threads (those that torch uses now), torch, and what
    else is given.

threads: of each process that measures, if it is not this one. commits: of results that were kept."""
    threads, commits = threads or torch.get_num_threads(), sorted(commits or [commit()])
    code = f"commit{'s' * (len(commits) > 1)} {' and '.join(commits)}"
    at_once = "one thread" if threads == 1 else f"{threads} threads"
    return ", ".join([time.strftime("%Y-%m-%d"), code, machine(), at_once,
                      f"torch {torch.__version__.split('+')[0]}", *more])


def row(*cells): print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head(*names):
    row(*names)
    print("|" + "---|" * len(names), flush=True)


def key(script, **depends):
    """Twelve hexadecimal digits for results that are kept: they change with any line of the package, with the
    script's own (a path), and with all else that the results depend on, settings and `Msanii.fingerprint` for
    instance."""
    digest = hashlib.sha256(json.dumps(depends, sort_keys=True, default=str).encode())
    for file in sorted(Path(msanii.__file__).parent.glob("*.py")) + [Path(script)]:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:12]
