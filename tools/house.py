"""How the code is built: `python tools/house.py counts`, `... walk`, `... tree`.

counts: files and lines by room, names, circles of imports, from the source; nothing is run.
walk:   what one invocation on one scan passes through: modules of ours in which a function runs,
        the deepest stack of ours, how often the image is opened. Of another checkout: --root DIR,
        with the Python of an environment that has it.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import io
import runpy
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

PACKAGES = ("semantoks", "bids_app", "model")


def sources(root: Path) -> dict[str, Path]:
    """Return our modules by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Return which of our modules a file imports, type imports and late ones included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found |= {inner if inner in known else node.module} & known.keys()
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known.keys()
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected parts of more than one node (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            part = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def room_of(module: str, path: Path) -> str:
    """Return the folder of a module, dotted."""
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def layer_of(module: str) -> str:
    """Return what a contract orders: a room, or a file beside the rooms."""
    return ".".join(module.split(".")[:2])


def names(path: Path) -> tuple[set[str], set[str]]:
    """Return the public top-level names of a file, and those in its ``__all__``."""
    public: set[str] = set()
    listed: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            public.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id == "__all__":
                    listed = set(ast.literal_eval(node.value)) if node.value else set()
                elif isinstance(target, ast.Name):
                    public.add(target.id)
    return {name for name in public if not name.startswith("_")}, listed


def counts(root: Path) -> None:
    """Print files and lines by room, names and circles."""
    known = sources(root)
    graph = {module: imports(path, known) for module, path in known.items()}
    importers: Counter[str] = Counter(other for found in graph.values() for other in found)
    lines = {module: len(path.read_text().splitlines()) for module, path in known.items()}
    rooms: dict[str, list[str]] = defaultdict(list)
    for module, path in known.items():
        rooms[room_of(module, path)].append(module)
    print(f"{'room':32} files  lines  in __all__")
    for room, modules in sorted(rooms.items()):
        listed = names(known[room])[1] if room in known else set()
        total = sum(lines[m] for m in modules)
        print(f"{room:32} {len(modules):5}  {total:5}  {len(listed):5}")
    files = [module for module, path in known.items() if path.name != "__init__.py"]
    print(f"\nfiles {len(known)}, lines {sum(lines.values())}")
    print(f"most files on one floor: {max(len(modules) for modules in rooms.values())}")
    print(f"files under 100 lines: {sum(lines[m] < 100 for m in files)}")
    print(
        f"of these with one importer: {sum(lines[m] < 100 and importers[m] == 1 for m in files)}"
    )
    texts = {module: path.read_text() for module, path in known.items()}
    public = {m: names(path)[0] for m, path in known.items()}
    unused = sum(
        not any(name in text for other, text in texts.items() if other != module)
        for module, found in public.items()
        for name in found
    )
    print(f"public top-level names {sum(map(len, public.values()))}, only at home {unused}")
    by_room: dict[str, set[str]] = defaultdict(set)
    for module, found in graph.items():
        here = layer_of(module)
        by_room[here] |= {layer_of(other) for other in found} - {here}
    print(f"circles of modules {circles(graph)}")
    print(f"circles of layers {circles(by_room)}")


def tree(root: Path) -> None:
    """Print rooms and files, each with the first sentence of its docstring."""
    for module, path in sources(root).items():
        text = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
        text = " ".join(text.split())
        parts = module.split(".")
        is_room = path.name == "__init__.py"
        label = "  " * (len(parts) - 1) + (f"{parts[-1]}/" if is_room else path.name)
        print(f"{label:28} {text}")


def module_of(frame: Any) -> str | None:
    """Return our module that a frame runs in; None for others', and for what an import runs.

    Bodies of modules and classes, and what `dataclasses` defines methods with.
    """
    name = str(frame.f_globals.get("__name__", ""))
    code = frame.f_code
    is_function = bool(code.co_flags & inspect.CO_OPTIMIZED) and code.co_name != "__create_fn__"
    inside = is_function and not code.co_name.startswith("<")
    return name if inside and name.partition(".")[0] in PACKAGES else None


class Passage:
    """Hooks that note what a run passes through."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.deepest: list[str] = []
        self.opened: Counter[str] = Counter()

    def profile(self, frame: Any, event: str, _: object) -> None:
        """Note a call of ours, and the stack of ours that it ends."""
        module = module_of(frame) if event == "call" else None
        if module is None:
            return
        self.modules.add(module)
        stack: list[str] = []
        while frame is not None:
            if module := module_of(frame):
                stack.insert(0, f"{module}.{frame.f_code.co_name}")
            frame = frame.f_back
        self.deepest = max(self.deepest, stack, key=len)

    def audit(self, event: str, arguments: tuple[object, ...]) -> None:
        """Note an image that is opened."""
        if event == "open" and str(arguments[0]).endswith("_bold.nii.gz"):
            self.opened[Path(str(arguments[0])).name] += 1


def walk(root: Path) -> None:
    """Run one invocation on one scan with a profile hook, and print what it passed through."""
    sys.path[:0] = [str(root / place) for place in (".", "tests/support", "tests")]
    import builders  # type: ignore[import-not-found]

    passage = Passage()
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder)
        builders.make_dataset(study / "fmriprep")
        builders.make_atlas(study / "atlas")
        builders.make_checkpoint(study / "checkpoint")
        sys.argv = ["semantoks", str(study / "fmriprep"), str(study / "out"), "participant"]
        sys.argv += ["--atlas", str(study / "atlas"), "--checkpoint", str(study / "checkpoint")]
        sys.argv += ["--n-cpus", "1", "--quiet"]
        sys.addaudithook(passage.audit)
        sys.setprofile(passage.profile)
        with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
            runpy.run_path(str(root / "entrypoint.py"), run_name="__main__")
        sys.setprofile(None)
    if "embedded" not in said.getvalue():
        raise SystemExit(f"nothing was embedded:\n{said.getvalue()}")
    print(f"modules of ours in which a function runs: {len(passage.modules)}")
    print(" ", *sorted(passage.modules), sep="\n  ")
    print(f"deepest stack of ours: {len(passage.deepest)}")
    print(" ", *passage.deepest, sep="\n  ")
    print(f"opens of the image: {dict(passage.opened)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["counts", "walk", "tree"])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    chosen = parser.parse_args()
    {"counts": counts, "walk": walk, "tree": tree}[chosen.what](chosen.root.resolve())
