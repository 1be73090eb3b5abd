"""What may import what, and what `--help` may load: the structure that ARCHITECTURE.md describes."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import art2real

PACKAGE = Path(art2real.__file__).parent

# Each room with its floor: a room imports itself and rooms of lower floors.
FLOORS = {
    "errors": 0,
    "pages": 0,
    "versions": 0,
    "core": 1,
    "config": 2,
    "data": 3,
    "index": 4,
    "training": 5,
    "translation": 5,
    "evaluation": 5,
    "study": 5,
    "plan": 6,
    "serving": 6,
    "distributed": 7,
    "demo": 8,
    "cli": 9,
}
# Heavy or replaceable machinery, and the only rooms that know it.
ONLY_IN = {
    "ray": {"distributed"},
    "faiss": {"index", "distributed"},
    "click": {"cli"},
    "matplotlib": {"demo", "evaluation", "index", "pages", "study", "training"},
}
# Rooms beside each other on a floor keep apart, but for these.
NEIGHBOURS = {("training", "translation")}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            yield node.module or ""


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "art2real" and len(parts) > 1 else None


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(PACKAGE)) for path in SOURCES])
def test_imports_go_one_way(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    room = parts[0]
    if room == "__init__":
        return  # the package's own door, which opens onto `load_generator` when it is asked for
    assert room in FLOORS, f"{room} is a new room: give it a floor here and in ARCHITECTURE.md"
    for module in imports_of(path):
        other = room_of(module)
        if other is not None and other != room:
            allowed = FLOORS[other] < FLOORS[room] or (room, other) in NEIGHBOURS
            assert allowed, f"{room} must not import {module}"
        top = module.split(".")[0]
        assert room in ONLY_IN.get(top, {room}), f"{room} must not import {top}"


@pytest.mark.parametrize("room", ["cli", "demo"])
def test_a_session_is_entered_before_jobs_are_imported(room):
    """Ray reads how it authenticates at its first import, which every other module of `distributed` is."""
    for path in sorted((PACKAGE / room).rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:  # not inside of functions
            if isinstance(node, ast.ImportFrom) and room_of(node.module or "") == "distributed":
                assert node.module == "art2real.distributed.cluster", f"{path} imports {node.module}"


def test_help_loads_no_machinery():
    code = (
        "import sys\n"
        "from art2real.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'ray', 'faiss', 'pyarrow', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_help_answers_at_once():
    # The promise is half a second; a busy machine gets three tries at it.
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "art2real.cli", "--help"], check=True, stdout=subprocess.DEVNULL
        )
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.5


@pytest.mark.parametrize("path", SOURCES, ids=[str(path.relative_to(PACKAGE)) for path in SOURCES])
def test_nothing_is_unpickled(path):
    """Files come from strangers: no pickle, and `torch.load`, which is pickle, of tensors alone."""
    text = path.read_text(encoding="utf-8")
    assert text.count("torch.load(") == sum(
        ast.unparse(node.func) == "torch.load"
        and any(each.arg == "weights_only" and ast.unparse(each.value) == "True" for each in node.keywords)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
    )
    assert not {"pickle", "cloudpickle", "dill", "joblib"} & {name.split(".")[0] for name in imports_of(path)}
