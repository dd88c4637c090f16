"""_core.pyi says what the module has: every name, both ways, and the parameters of every function.

pybind11 functions carry no signature that inspect could read, but the first line of their docstring is one.
"""

import ast
import re
from pathlib import Path

import pytest

from nos import _core

STUB = ast.parse((Path(__file__).parents[1] / "python/nos/_core.pyi").read_text())
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
LOOSE = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
FUNCTIONS = [
    *((function.name, getattr(_core, function.name), function) for function in LOOSE.values()),
    *(
        (f"{name}.{function.name}", getattr(getattr(_core, name), function.name), function)
        for name, node in CLASSES.items()
        for function in node.body
        if isinstance(function, ast.FunctionDef) and not function.decorator_list
    ),
]


def public(names):
    return {name for name in names if not name.startswith("_")}


def test_the_same_names():
    assert public(vars(_core)) == set(CLASSES) | set(LOOSE)


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"ClusterBusy"}))
def test_the_same_members(name):
    described = {member.name for member in CLASSES[name].body if isinstance(member, ast.FunctionDef)}
    assert public(vars(getattr(_core, name))) == public(described)


@pytest.mark.parametrize(("real", "function"), [f[1:] for f in FUNCTIONS], ids=[f[0] for f in FUNCTIONS])
def test_the_same_parameters(real, function):
    if function.name in ("__exit__", "__eq__", "__hash__"):
        return
    first_line = real.__doc__.splitlines()[0]
    inside = re.match(r"\w+\((.*)\) -> ", first_line).group(1)
    actual = re.findall(r"(?:^|, )(\w+)(?=: |$|,)", re.sub(r"\[[^\[\]]*(\[[^\[\]]*\][^\[\]]*)*\]", "", inside))
    arguments = function.args
    described = [argument.arg for argument in [*arguments.args, *arguments.kwonlyargs]]
    assert actual == described
