"""Examples in docstrings are run, shapes are stated, records of arrays do not print them."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for p in ("model", "bids_app", "semantoks") for path in (ROOT / p).rglob("*.py")
)
TREES = {path.relative_to(ROOT): ast.parse(path.read_text()) for path in SOURCES}
ARRAY = re.compile(r"Array\b|NDArray|ndarray|Tensor|ArrayLike")
AXIS = r"(?:[A-Z]{1,2}'?|n|\d+|\.\.\.|\*shape|n_positions|heads|scans|rows)"
SHAPE = re.compile(rf"\({AXIS}(?:,|\)| [(*+/])")
"""The first axis of a shape, such as (T, P) or (P (P - 1) / 2,)"""
MOST_USED = {
    "bids_app.signal.denoise.denoise",
    "model.checkpoint.load_encoder",
    "model.embed.embed_series",
    "model.preprocess.normalize",
    "model.preprocess.resample",
    "model.preprocess.window",
}


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


WITH_EXAMPLES = [module_name(p) for p in TREES if "    >>> " in (ROOT / p).read_text()]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_give_what_they_say(name) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
    assert result.attempted > 0


def test_the_most_used_functions_have_examples() -> None:
    finder = doctest.DocTestFinder()
    found = {
        test.name
        for name in WITH_EXAMPLES
        for test in finder.find(importlib.import_module(name))
        if test.examples
    }
    assert found >= MOST_USED


def public_functions(body, inside=""):
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{inside}{node.name}", node


def takes_or_gives_arrays(node: ast.FunctionDef) -> bool:
    arguments = [*node.args.args, *node.args.kwonlyargs]
    annotations = [a.annotation for a in arguments] + [node.returns]
    texts = [ast.unparse(annotation) for annotation in annotations if annotation is not None]
    return any(
        ARRAY.search(text) and "Mapping" not in text and "dict" not in text for text in texts
    )


def test_functions_of_arrays_say_their_shapes() -> None:
    silent = [
        f"{path}: {name}"
        for path, tree in TREES.items()
        for name, node in public_functions(tree.body)
        if takes_or_gives_arrays(node) and not SHAPE.search(ast.get_docstring(node) or "")
    ]
    assert silent == []


def test_records_of_arrays_are_shown_by_shape() -> None:
    printing = [
        f"{path}: {node.name}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and any("dataclass" in ast.unparse(d) for d in node.decorator_list)
        and any(
            isinstance(field, ast.AnnAssign)
            and ARRAY.search(ast.unparse(field.annotation))
            and "Callable" not in ast.unparse(field.annotation)
            for field in node.body
        )
        and "__repr__" not in ast.unparse(node)
    ]
    assert printing == []
