"""The rules of the house: who may import whom, what is public, what stays cheap."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import upres

PACKAGE = Path(upres.__file__).parent

# A module may import from those before it only.
LAYERS = [
    "errors",
    "resize",
    "metrics",
    "pixels",
    "processor",
    "card_rules",
    "probing",
    "model",
    "engine",
    "tiles",
    "inference",
    "files",
    "formats",
    "jobs",
    "journal",
    "streams",
    "batch",
    "console",
    "cli_enlarge",
    "cli",
    "evaluation",
    "training",
    "web",
]
HEAVY = {"evaluation", "training", "web"}
EXTRAS = {"torch", "onnx", "onnxscript", "skimage", "matplotlib", "onnxruntime"}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem[:2] != "__")


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_layers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == "upres":
                names = [f"upres.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "upres" and len(parts) > 1 and parts[1] in LAYERS:
                yield parts[1]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_those_above_it(path: Path) -> None:
    own = LAYERS.index(layer(path))
    for other in imported_layers(ast.parse(path.read_text("utf-8"))):
        if layer(path) == "cli" and other in HEAVY:
            continue  # inside functions only: the next test
        assert LAYERS.index(other) <= own, f"{path.name} must not import upres.{other}"


def test_the_command_imports_the_heavy_layers_inside_functions_only() -> None:
    tree = ast.parse((PACKAGE / "cli.py").read_text("utf-8"))
    typing_only = "TYPE_CHECKING"
    top_level = ast.Module(
        [
            node
            for node in tree.body
            if not isinstance(node, ast.FunctionDef)
            and not (isinstance(node, ast.If) and ast.unparse(node.test) == typing_only)
        ],
        [],
    )
    assert not set(imported_layers(top_level)) & HEAVY
    assert set(imported_layers(tree)) & HEAVY, "else this test sees nothing"


def test_no_matrix_library_is_asked_beside_the_engine() -> None:
    # Its threads spin for 50 ms after each product, on the cores that the engine wants.
    products = {"dot", "einsum", "matmul", "tensordot", "vdot", "inner"}
    for name in ("pixels", "engine", "tiles", "inference"):
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text("utf-8"))):
            assert not isinstance(node, ast.MatMult), name
            assert not (isinstance(node, ast.Attribute) and node.attr in products), name
    # Of the command, where pictures are reduced by such products, it has one thread.
    code = "import upres.__main__, sys, os; print(os.environ['OPENBLAS_NUM_THREADS'])"
    bare = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    command = [sys.executable, "-c", code + "; assert 'numpy' not in sys.modules"]
    result = subprocess.run(command, env=bare, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "1"


def test_modules_are_short_enough_to_read() -> None:
    lengths = {
        str(p.relative_to(PACKAGE)): len(p.read_text("utf-8").splitlines()) for p in modules()
    }
    assert {name: n for name, n in lengths.items() if n > 320} == {}


def test_exported_names() -> None:
    assert upres.__all__ == [
        "__version__",
        "InputError",
        "Model",
        "ModelCard",
        "ModelError",
        "OutputError",
        "UpresError",
        "enlarge",
        "load_model",
    ]
    for name in upres.__all__:
        assert getattr(upres, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = upres.missing


def test_type_checkers_see_the_exported_names_and_no_others() -> None:
    body = ast.parse((PACKAGE / "__init__.py").read_text("utf-8")).body
    shown: list[str] = [
        alias.asname or ""
        for branch in body
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(shown) == sorted(upres.__all__[1:])
    # A module's __getattr__ would let them pass any name, misspelt ones, too.
    assert "__getattr__" not in {n.name for n in body if isinstance(n, ast.FunctionDef)}


def loaded_modules(code: str, *arguments: str, **environment: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running ``code``."""
    report = "\nimport sys; print('LOADED', *{name.split('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", code + report, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    line = next(line for line in result.stdout.splitlines() if line.startswith("LOADED"))
    return set(line.split()[1:])


RUN_COMMAND = """
import sys
from upres.cli import main
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
"""


def test_importing_upres_is_cheap() -> None:
    loaded = loaded_modules("import upres")
    assert "upres" in loaded
    assert not loaded & (EXTRAS | {"openvino", "pyvips", "numpy", "rich", "typer"})


def test_help_loads_no_engine() -> None:
    loaded = loaded_modules(RUN_COMMAND, "--help")
    assert "typer" in loaded
    assert not loaded & (EXTRAS | {"openvino", "pyvips"})


def test_enlarge_needs_nothing_of_an_extra_and_reports_to_nobody(
    model_file: Path, tmp_path: Path
) -> None:
    pyvips = pytest.importorskip("pyvips")
    source, home = tmp_path / "black.png", tmp_path / "home"
    home.mkdir()
    pyvips.Image.black(9, 7, bands=3).copy(interpretation="srgb").pngsave(str(source))
    command = ("enlarge", str(source), "--model", str(model_file))
    loaded = loaded_modules(RUN_COMMAND, *command, HOME=str(home), USERPROFILE=str(home))
    # Where OpenVINO would keep the number under which it reports to its makers.
    assert not list(home.iterdir())
    assert (tmp_path / "black_x2.png").exists()
    assert {"openvino", "pyvips"} <= loaded
    assert not loaded & EXTRAS
