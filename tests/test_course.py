"""Exercises that ask for a function: their folded answers pass the checks, and nothing else does."""
import json
import re
from pathlib import Path

import pytest

from msanii.course import CHECKS, check, equal

NBS = Path(__file__).parents[1] / "nbs"
CALL = re.compile(r'check\("(\d\d)", (\d), (\w+)\)')


def exercises():
    "Of all notebooks: (notebook, number, name of the function, the code of the answer)."
    for path in sorted(NBS.glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        text = "".join("".join(c["source"]) + "\n" for c in cells if c["cell_type"] == "markdown")
        _, _, text = text.partition("## Exercises")
        for part in re.split(r"(?m)^(?=\d\. )", text)[1:]:
            question, _, answer = part.partition("<details>")
            for notebook, number, name in CALL.findall(question):
                code = "\n".join(re.findall(r"```python\n(.*?)```", answer, re.S))
                yield pytest.param(notebook, int(number), name, code, part[0], path.name[:2],
                                   id=f"{notebook}-{number}")


EXERCISES = list(exercises())


@pytest.mark.parametrize("notebook, number, name, code, place, file", EXERCISES)
def test_the_answer_passes_its_check_and_nothing_else_does(notebook, number, name, code, place, file):
    assert (notebook, str(number)) == (file, place), "the call names another exercise"
    space = {}
    exec(code, space)
    assert check(notebook, number, space[name])
    for wrong in (lambda *a, **k: None, lambda *a, **k: a[0] if a else 0, lambda *a, **k: 1 / 0,
                  asserts_without_words, asserts_with_words):
        assert not check(notebook, number, wrong)


def asserts_without_words(*a, **k): raise AssertionError


def asserts_with_words(*a, **k): raise AssertionError("words")


@pytest.mark.parametrize("words", [(), ("",), ("words",)])
def test_a_failed_assertion_is_never_right_with_words_or_without(words, monkeypatch, capsys):
    def fails(f): raise AssertionError(*words)
    monkeypatch.setitem(CHECKS, ("99", 1), fails)
    assert check("99", 1, abs) is False
    assert "not yet. " in (said := capsys.readouterr().out) and "right" not in said
    monkeypatch.setitem(CHECKS, ("99", 1), lambda f: None)
    assert check("99", 1, abs) is True and "right." in capsys.readouterr().out


def test_every_check_belongs_to_an_exercise():
    asked = {(p.values[0], p.values[1]) for p in EXERCISES}
    assert set(CHECKS) == asked


def test_a_check_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match="no check"): check("99", 1, abs)


def test_equal_names_the_call_and_both_values():
    equal([1.0, 2], [1, 2], "f()")
    for found in ([1.0, 3], [1.0], None):
        with pytest.raises(AssertionError, match=r"f\(\)"): equal(found, [1, 2], "f()")
    with pytest.raises(AssertionError, match="'C'"): equal("G", "C", "f()")
