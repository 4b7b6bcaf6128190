"""The examples in docstrings are run, and give what they say."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = {
    "bids_app.signal.denoise": ["denoise"],
    "model.checkpoint": ["load_encoder"],
    "model.embed": ["embed_series"],
    "model.preprocess": ["normalize", "resample", "window"],
    "model.series": ["shown"],
}
"""Modules with examples, and the functions that have some."""


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_right_and_all_are_there(name) -> None:
    module = importlib.import_module(name)
    with_examples = [t.name for t in doctest.DocTestFinder().find(module) if t.examples]
    assert sorted(with_examples) == [f"{name}.{function}" for function in MODULES[name]]
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0
