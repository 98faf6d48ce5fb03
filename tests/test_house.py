"""The rules of the house: who may import whom, what is public, what stays cheap."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import upres

PACKAGE = Path(upres.__file__).parent
TESTS = Path(__file__).parent

# The rooms, from the ground up. A file may import from its own room and from those before it only.
ROOMS = [
    {"errors"},
    {"signals", "files", "onnx_files"},
    {"card"},
    {"head"},
    {"folders"},
    {"raster"},
    {"engine"},
    {"formats"},
    {"models"},
    {"enlarging"},
    {"fusing"},
    {"runs"},
    {"training", "evaluation"},  # side by side: neither imports from the other
    {"service"},
    {"cli"},
]
HEAVY = {"evaluation", "training", "service"}
EXTRAS = {
    "av",
    "torch",
    "onnx",
    "onnxscript",
    "skimage",
    "matplotlib",
    "onnxruntime",
    "pydicom",
    "nibabel",
    "fastapi",
    "obstore",
    "ray",
}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem[:2] != "__")


def name_of(path: Path) -> str:
    """``upres.raster.resize``; of a package's ``__init__``, the package's."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in modules()}


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Of upres, each module that is imported, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            # ``from upres.raster import resize`` imports a module, not a name of a package.
            names = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in NAMES else base for name in names]
        else:
            continue
        yield from (name for name in names if name in NAMES)


def imported_rooms(tree: ast.AST) -> set[str]:
    return {name.split(".")[1] for name in imported_modules(tree)}


def level(name: str) -> int:
    return next(i for i, rooms in enumerate(ROOMS) if name.split(".")[1] in rooms)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_from_its_room_and_those_below(path: Path) -> None:
    own = name_of(path)
    for other in imported_modules(ast.parse(path.read_text("utf-8"))):
        same_room = other.split(".")[1] == own.split(".")[1]
        assert same_room or level(other) < level(own), f"{own} must not import {other}"


def at_import(tree: ast.Module) -> ast.Module:
    """What runs when a file is imported: no functions, and nothing for type checkers alone."""

    class Only(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else node

    return Only().visit(tree)  # type: ignore[no-any-return]


def test_there_are_no_circles_within_rooms_either() -> None:
    # By all imports, inside functions, too: a circle there is one that waits.
    needs = {
        name_of(path): {*imported_modules(ast.parse(path.read_text("utf-8")))} - {name_of(path)}
        for path in modules()
    }
    # A package's own ``__init__`` and the files in it may name each other.
    done: set[str] = set()
    while len(done) < len(needs):
        free = {name for name, others in needs.items() if name not in done and others <= done}
        assert free, "circle among " + ", ".join(sorted(set(needs) - done))
        done |= free


# Names that two modules share, although they mean different things: none may be added.
ALIKE = {}


def public_names(path: Path) -> Iterator[str]:
    """What a file defines at its top level, other than by importing it."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def test_a_name_means_one_thing() -> None:
    owners: dict[str, list[str]] = {}
    for path in modules():
        for name in dict.fromkeys(public_names(path)):  # of overloads, one
            owners.setdefault(name, []).append(name_of(path))
    alike = {}
    for name, places in owners.items():
        # A command is called as the function that it calls.
        below = [place for place in places if level(place) < level("upres.cli")]
        # Formats have verbs in common, as they do the same, and are called by module: exif.fitting.
        verbs = name.islower() and all(place.startswith("upres.formats.") for place in below)
        if len(below) > 1 and not verbs:
            alike[name] = places
    assert {name: places for name, places in alike.items() if name not in ALIKE} == {}
    assert ALIKE.keys() <= alike.keys(), "these no longer need to be allowed"


# How a library must not speak: it has keywords, and the command alone knows its flags.
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
# Of git, and of a page's style.
OTHER_PROGRAMS = {
    "upres.training.run": {"--always", "--dirty", "--abbrev", "--match"},
    "upres.evaluation.plots": {"--ink", "--line"},
}


def texts(tree: ast.AST) -> Iterator[str]:
    """Strings, docstrings included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_module_below_the_command_speaks_of_flags() -> None:
    found = {}
    for path in modules():
        own = name_of(path)
        if level(own) >= level("upres.cli"):
            continue
        flags = {
            flag
            for text in texts(ast.parse(path.read_text("utf-8")))
            for flag in FLAG.findall(text)
        }
        found[own] = flags - OTHER_PROGRAMS.get(own, set())
    assert {own: flags for own, flags in found.items() if flags} == {}


# A text begins with the thing that it is about: it needs no clause to open it.
CLAUSE = re.compile(r"\s*(What|Such|Of which)\b")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_text_begins_with_a_clause(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert [text for text in texts(tree) if CLAUSE.match(text)] == []


def test_the_command_imports_the_heavy_layers_inside_functions_only() -> None:
    trees = [ast.parse(path.read_text("utf-8")) for path in (PACKAGE / "cli").glob("*.py")]
    assert set().union(*map(imported_rooms, trees)) >= HEAVY
    assert not set().union(*(imported_rooms(at_import(tree)) for tree in trees)) & HEAVY


def test_no_matrix_library_is_asked_beside_the_engine() -> None:
    # Its threads spin for 50 ms after each product, on the cores that the engine wants.
    products = {"dot", "einsum", "matmul", "tensordot", "vdot", "inner"}
    for name in (
        "raster/pixels",
        *("engine/openvino", "engine/openvino_graphs", "engine/onnxruntime", "engine/wrappers"),
        *("enlarging/tiles", "enlarging/windows"),
        *("enlarging/overlaps", "enlarging/consistency"),
    ):
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text("utf-8"))):
            assert not isinstance(node, ast.MatMult), name
            assert not (isinstance(node, ast.Attribute) and node.attr in products), name
    # Of the command, where pictures are reduced by such products, it has one thread.
    code = "import os, sys; from upres.cli import process; process.set_up()"
    code += "; print(os.environ['OPENBLAS_NUM_THREADS'])"
    bare = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    command = [sys.executable, "-c", code + "; assert 'numpy' not in sys.modules"]
    result = subprocess.run(command, env=bare, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "1"


# Where tests replace names, seams are missing: parameters, or fakes behind a protocol.
MOST_REPLACED = 10


def foreign_names(tree: ast.Module) -> set[str]:
    """What a test file imports, at its top level, of others than upres and the tests themselves."""
    found = set()
    for node in tree.body:
        modules: dict[str, str] = {}
        if isinstance(node, ast.Import):
            modules = {(a.asname or a.name).split(".")[0]: a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {alias.asname or alias.name: node.module or "" for alias in node.names}
        own = {"upres", *(path.stem for path in TESTS.rglob("*.py"))}
        found |= {name for name, module in modules.items() if module.split(".")[0] not in own}
    return found


def replaced_names(tree: ast.Module) -> Iterator[str]:
    """What of our own a test file replaces or removes by a ``MonkeyPatch``, whatever its name."""
    foreign = foreign_names(tree)
    for node in ast.walk(tree):
        # The builtin of that name is no attribute of anything.
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr not in ("setattr", "delattr"):
            continue
        target = node.args[0]
        if isinstance(target, ast.Constant):
            if str(target.value).split(".")[0] == "upres":
                yield str(target.value)
        elif ast.unparse(target).split(".")[0] not in foreign:
            yield ast.unparse(node)


def test_tests_hardly_replace_names_of_ours() -> None:
    example = """
import os
import torch.nn as nn
from upres import files
monkeypatch.setattr("upres.files.lock", lock)
monkeypatch.setattr(files, "lock", lock)
monkeypatch.setattr(os, "link", link)
patched.setattr(nn.Linear, "forward", forward)
monkeypatch.setattr("os.replace", replace)
monkeypatch.setenv("HOME", "/")
"""
    found = list(replaced_names(ast.parse(example)))
    assert found == ["upres.files.lock", "monkeypatch.setattr(files, 'lock', lock)"]
    replaced = {
        str(path.relative_to(TESTS)): names
        for path in sorted(TESTS.rglob("*.py"))
        if (names := list(replaced_names(ast.parse(path.read_text("utf-8")))))
    }
    assert sum(map(len, replaced.values())) < MOST_REPLACED, replaced


def test_modules_are_short_enough_to_read() -> None:
    lengths = {
        str(p.relative_to(PACKAGE)): len(p.read_text("utf-8").splitlines()) for p in modules()
    }
    assert {name: n for name, n in lengths.items() if n > 320} == {}


def test_exported_names() -> None:
    assert upres.__all__ == [
        "__version__",
        "DeviceError",
        "ExistsError",
        "InputError",
        "MissingExtraError",
        "Model",
        "ModelCard",
        "ModelError",
        "OutputError",
        "Remedy",
        "UpresError",
        "UsageError",
        "agreement",
        "enlarge",
        "enlarge_file",
        "fuse",
        "open_model",
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
from upres.cli.main import main
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
"""


def test_importing_upres_is_cheap() -> None:
    loaded = loaded_modules("import upres")
    assert "upres" in loaded
    assert not loaded & (EXTRAS | {"openvino", "pyvips", "numpy", "rich", "typer"})


def test_importing_upres_changes_nothing_of_its_host_s_openvino() -> None:
    code = "import sys, upres; print('openvino_telemetry' in sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


@pytest.mark.parametrize("argument", ["--help", "models"])
def test_help_and_the_list_of_models_load_no_engine(argument: str) -> None:
    loaded = loaded_modules(RUN_COMMAND, argument)
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
