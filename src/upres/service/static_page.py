"""The page as files that need no server of ours: models run in the browser, by ONNX Runtime's web
build.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from upres.errors import InputError, OutputError, Remedy
from upres.files import make_folder
from upres.models import INT8, Shipped, read_model, shipped_models
from upres.models.catalogue import PURPOSES, SELF_ENSEMBLE

PAGE_FILES = Path(__file__).parent / "page"
"""The folder of the page's files."""

RUNTIME = "onnxruntime-web"
"""The package of npm that runs models in browsers."""

_COPIED = ("style.css", "script.js", "icon.svg", "local.js", "worker.js", "steps.js", "png.js")

_NEEDED = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")

_FOR_GPUS = (
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""They are loaded where the browser has WebGPU."""

_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; "
    "form-action 'none'"
)


def write_static_page(
    folder: Path, runtime: Path | None = None, *, shipped: Shipped | None = None
) -> int:
    """Write the page with models and runtime into a folder, for any web server; give its bytes.

    ``runtime`` is the folder of ``onnxruntime-web``; without it, that is looked for in
    ``node_modules`` here and in the folders above. ``shipped`` are the models that have names
    (default: the package's own in float32, without those that run eight times).

    Raises ``InputError`` if the runtime is not there, ``OutputError`` if the folder cannot be
    written.
    """
    source = _found(runtime)
    models = _listed(_for_browsers() if shipped is None else shipped)
    for part in (folder, folder / "models", folder / "runtime"):
        make_folder(part)
    try:
        for name in _COPIED:
            shutil.copyfile(PAGE_FILES / name, folder / name)
        page = (PAGE_FILES / "index.html").read_text("utf-8")
        page = page.replace('data-engine="service"', 'data-engine="local"')
        head = '<meta charset="utf-8">'
        policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        (folder / "index.html").write_text(page.replace(head, f"{head}\n{policy}"), "utf-8")
        told = []
        for name, purpose, files in models:
            variants = []
            for path in files:
                card = read_model(path).card
                shutil.copyfile(path, folder / "models" / path.name)
                turns = SELF_ENSEMBLE if card.self_ensemble else 1
                variants.append(
                    {
                        "file": path.name,
                        "scale": card.scale,
                        "halo": card.halo,
                        "parameters": turns * (card.parameter_count or 0),
                    }
                )
            told.append({"model": name, "purpose": purpose, "variants": variants})
        (folder / "models" / "models.json").write_text(json.dumps(told), "utf-8")
        for name in (*_NEEDED, *_FOR_GPUS):
            if name in _NEEDED or (source / name).is_file():
                shutil.copyfile(source / name, folder / "runtime" / name)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write the page here: {error.strerror}") from None
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _found(runtime: Path | None) -> Path:
    """The folder of the runtime's files."""
    here = Path.cwd()
    places: Iterable[Path] = (
        [runtime]
        if runtime is not None
        else (parent / "node_modules" / RUNTIME for parent in (here, *here.parents))
    )
    for place in places:
        for found in (place, place / "dist"):
            if all((found / name).is_file() for name in _NEEDED):
                return found
    where = f"{runtime}: " if runtime is not None else ""
    raise InputError(
        f"{where}{RUNTIME} is not here, which runs models in the browser: npm install {RUNTIME}",
        Remedy("runtime", "names its folder"),
    )


def _for_browsers() -> Shipped:
    """The shipped models in float32, without those that are self-ensembled."""
    chosen = {}
    for name, scales in shipped_models().items():
        if not name.endswith(INT8) and not any(
            read_model(path).card.self_ensemble for path in scales.values()
        ):
            chosen[name] = scales
    # The default first: it is the one to be timed when the page is loaded.
    return dict(sorted(chosen.items(), key=lambda item: list(PURPOSES).index(item[0])))


def _listed(shipped: Shipped) -> list[tuple[str, str, list[Path]]]:
    return [
        (name, PURPOSES.get(name, ""), [scales[scale] for scale in sorted(scales)])
        for name, scales in shipped.items()
    ]
