"""Imports point one way, the library names no model and prints nothing, and nothing outgrows its file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("app", "page", "eval", "ingest", "mmretrieval", "models")
# Each may import itself and what stands to its right; `models` plugs in from the side.
MAY_IMPORT = {
    "app": {"page", "eval", "ingest", "mmretrieval"},
    "page": {"page", "eval", "ingest", "mmretrieval"},
    "eval": {"eval", "ingest", "mmretrieval"},
    "ingest": {"ingest", "mmretrieval"},
    "mmretrieval": {"mmretrieval"},
    "models": {"models", "mmretrieval"},
}
MODELS_MAY_IMPORT = {f"mmretrieval.{m}" for m in ("types", "errors", "geometry", "filters", "digests")}
# What is known of a checkpoint without loading it: listing encoders must stay quick.
LIGHT = ROOT / "models" / "cards"
TORCHY = {"torch", "torchvision", "open_clip", "transformers", "sentence_transformers", "timm"}


def sources() -> list[Path]:
    files = [ROOT / "app.py"]
    for package in OURS[1:]:
        files += sorted((ROOT / package).rglob("*.py"))
    return files


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported module of a file, `from a import b` as a and as a.b, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            assert node.module is not None
            yield node.module, node.lineno
            for name in node.names:
                yield f"{node.module}.{name.name}", node.lineno


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def uses_the_library(path: Path) -> bool:
    """Front doors, and what makes weights: no encoder imports either."""
    return path.name == "__main__.py" or path.name.startswith("train_") or path.parent.name == "training"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    package = package_of(path)
    for module, line in imports(path):
        top = module.split(".")[0]
        if top in OURS:
            assert top in MAY_IMPORT[package], f"{path.relative_to(ROOT)}:{line} imports {module}"
        if package == "models" and top == "mmretrieval" and not uses_the_library(path) and module != "mmretrieval":
            stem = ".".join(module.split(".")[:2])
            assert stem in MODELS_MAY_IMPORT, f"{path.relative_to(ROOT)}:{line} imports {module}"
        if package == "models" and not uses_the_library(path):
            assert not module.startswith("models.train"), f"{path.relative_to(ROOT)}:{line} imports {module}"
        if package != "models":
            assert top not in TORCHY, f"{path.relative_to(ROOT)}:{line} imports {module}: torch lives in models/"
        if path.is_relative_to(LIGHT):
            assert top not in TORCHY, f"{path.relative_to(ROOT)}:{line} imports {module}: cards are light"
        if package not in ("app", "page"):
            assert top != "gradio", f"{path.relative_to(ROOT)}:{line} imports gradio"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_library_code_neither_prints_nor_exits(path: Path) -> None:
    if path.name in ("__main__.py", "app.py"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "sys.exit", "exit", "quit"), (
                f"{path.relative_to(ROOT)}:{node.lineno} {called}"
            )
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"{path}:{node.lineno} bare except"


def test_embed_is_the_only_caller_of_encode() -> None:
    callers = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "encode":
                # str.encode takes no content: its arguments are names of codecs, or nothing.
                strings = all(isinstance(a, ast.Constant) and isinstance(a.value, str) for a in node.args)
                if node.args and not strings and package_of(path) != "models":
                    callers.append(str(path.relative_to(ROOT)))
    assert callers == ["mmretrieval/embedding.py"]


def test_the_library_names_no_model() -> None:
    import tomllib

    table = tomllib.loads((ROOT / "models/catalog.toml").read_text(encoding="utf-8"))
    names = (set(table) - {"family"}) | set(table.get("family", {}))
    for path in sources():
        if package_of(path) == "mmretrieval":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert node.value not in names, f"{path.relative_to(ROOT)}:{node.lineno} names {node.value}"


@pytest.mark.parametrize("command", [("-m", "ingest"), ("-m", "eval"), ("-m", "models"), ("app.py",)], ids=" ".join)
def test_help_needs_no_heavy_package(command: tuple[str, ...]) -> None:
    heavy = sorted(TORCHY | {"gradio", "qdrant_client", "qdrant_edge", "pyarrow", "scipy", "pandas", "av"})
    target = f"runpy.run_path({command[0]!r}, run_name='__main__')"
    if command[0] == "-m":
        target = f"runpy.run_module({command[1]!r}, run_name='__main__', alter_sys=True)"
    script = (
        f"import runpy, sys; sys.argv = ['x', '--help']\n"
        f"try:\n    {target}\nexcept SystemExit as e:\n    assert not e.code, e.code\n"
        f"loaded = [m for m in {heavy!r} if m in sys.modules]; assert not loaded, loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 450, f"{path.relative_to(ROOT)} has outgrown one file"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 75, f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {length} lines"
