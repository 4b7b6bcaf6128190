"""Finish the virtual environment of the image: licences in one folder; what no run needs goes.

    python environment.py licences VENV FOLDER     copy every package's licence files, list them
    python environment.py reduce VENV              remove what serves tests and compilers only
    python environment.py compile FOLDER           bytecode that depends on no file's time

The Dockerfile calls these. Same input, same bytes: nothing depends on order, time or hash seed.
"""

from __future__ import annotations

import compileall
import csv
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath
from py_compile import PycInvalidationMode

LICENCE = re.compile(r"(?i)^(un)?licen[cs]e|^copying|^notice|^copyright|^authors|^thirdpart")
SOURCE_SUFFIXES = (".a", ".c", ".cpp", ".h", ".hpp", ".pxd", ".pyx")
UNUSED = (
    # Headers, CMake files and test programs of torch. torch_shm_manager serves its data loaders.
    r"torch/(include|share|test)/.*",
    r"torch/bin/(?!torch_shm_manager$).*",
    r"torch/lib/lib(aoti_custom_ops|backend_with_compiler|jitbackend_test|torchbind_test)\.so",
    r"pyarrow/(include|src)/.*",
    # A server for remote calls and clients of cloud storage: Arrow can be built without them.
    r"pyarrow/lib(arrow_flight|arrow_python_flight|arrow_s3)\.so.*",
    r"pyarrow/_(flight|s3fs|gcsfs|azurefs|pyarrow_cpp_tests)\..*",
    # Every package's own tests.
    r".+/tests?/.*",
)
_UNUSED = re.compile("|".join(UNUSED))


@dataclass(frozen=True)
class Package:
    """A package, and the files in which it tells its terms."""

    name: str
    version: str
    licence: str
    files: tuple[Path, ...]


def packages(site: Path) -> list[Package]:
    """Return the packages of a site-packages folder, by name."""
    found = [_package(one) for one in distributions(path=[str(site)])]
    return sorted(found, key=lambda one: one.name.lower())


def _package(one: Distribution) -> Package:
    files = (Path(str(one.locate_file(file))) for file in one.files or ())
    told = [path for path in files if LICENCE.match(path.name) and path.suffix != ".py"]
    return Package(
        name=one.metadata["Name"],
        version=one.version,
        licence=_licence(one),
        files=tuple(sorted(path for path in told if path.is_file())),
    )


def _licence(one: Distribution) -> str:
    """Return what the metadata state: an expression, else the classifiers, else the first line."""
    meta = one.metadata
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in meta.get_all("Classifier", [])
        if line.startswith("License ::")
    ]
    (expression, free_text) = (
        next(iter(meta.get_all(key, [])), "").strip() for key in ("License-Expression", "License")
    )
    return expression or "; ".join(classifiers) or free_text.partition("\n")[0]


def collect_licences(site: Path, folder: Path) -> None:
    """Copy each package's licence files into a folder of its own, and list all of them."""
    lines = ["package\tversion\tlicence\tfiles"]
    for package in packages(site):
        own = folder / f"{package.name}-{package.version}"
        for path in package.files:
            target = own / _place(path.relative_to(site))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        stated = package.licence or "none stated"
        lines.append(f"{package.name}\t{package.version}\t{stated}\t{len(package.files)}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "packages.tsv").write_text("\n".join(lines) + "\n")


def _place(path: Path) -> Path:
    """Return where a file goes: less its package's folder of metadata."""
    parts = path.parts
    return Path(*parts[1:]) if parts[0].endswith(".dist-info") else path


def is_unused(path: PurePosixPath) -> bool:
    """Tell whether a file of site-packages serves tests or compilers only."""
    if LICENCE.match(path.name):
        return False
    return path.suffix in SOURCE_SUFFIXES or _UNUSED.fullmatch(str(path)) is not None


def reduce(site: Path) -> int:
    """Remove what no run needs, also from the packages' own lists; return the number of bytes."""
    n_bytes = 0
    for path in sorted(site.rglob("*"), reverse=True):  # a folder after what is in it
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif is_unused(PurePosixPath(path.relative_to(site))):
            n_bytes += path.lstat().st_size
            path.unlink()
    for record in site.glob("*.dist-info/RECORD"):
        with record.open(newline="") as file:
            rows = [row for row in csv.reader(file) if row and (site / row[0]).exists()]
        with record.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    return n_bytes


def compile_all(folder: Path) -> None:
    """Compile every module below a folder, in the place of bytecode that is there.

    The bytecode is never compared with its source: with times of files, which a build sets, it
    would be compiled anew at each start of a read-only container.
    """
    compileall.compile_dir(
        folder,
        maxlevels=50,
        force=True,  # else an installer's, with the source's time inside, counts as up to date
        quiet=2,  # some packages hold templates that are no Python
        stripdir=str(folder),
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
    )


def _site(venv: Path) -> Path:
    (site,) = venv.glob("lib/python3*/site-packages")
    return site


def main(action: str, place: str, *more: str) -> None:
    """Do one of the three."""
    if action == "licences":
        collect_licences(_site(Path(place)), Path(more[0]))
    elif action == "reduce":
        print(f"removed {reduce(_site(Path(place))) / 1e6:.0f} MB that no run needs")
    elif action == "compile":
        compile_all(Path(place))
    else:
        raise SystemExit(f"{action}: expected licences, reduce or compile")


if __name__ == "__main__":
    main(*sys.argv[1:])
