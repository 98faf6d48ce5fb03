"""upres: enlarge any picture 2x, 3x or 4x, faithfully, on the computer that you have.

    import upres
    large = upres.enlarge(array, scale=4)

Importing this is cheap: the engine is loaded by the first call that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upres.card import Model as Model
    from upres.card import ModelCard as ModelCard
    from upres.enlarging.agreement import agreement as agreement
    from upres.enlarging.api import enlarge as enlarge
    from upres.enlarging.api import enlarge_file as enlarge_file
    from upres.errors import DeviceError as DeviceError
    from upres.errors import ExistsError as ExistsError
    from upres.errors import InputError as InputError
    from upres.errors import MissingExtraError as MissingExtraError
    from upres.errors import ModelError as ModelError
    from upres.errors import OutputError as OutputError
    from upres.errors import Remedy as Remedy
    from upres.errors import UpresError as UpresError
    from upres.errors import UsageError as UsageError
    from upres.models import open_model as open_model

__version__ = "0.1.0"

_HOMES = {
    "DeviceError": "upres.errors",
    "ExistsError": "upres.errors",
    "InputError": "upres.errors",
    "MissingExtraError": "upres.errors",
    "Model": "upres.card",
    "ModelCard": "upres.card",
    "ModelError": "upres.errors",
    "OutputError": "upres.errors",
    "Remedy": "upres.errors",
    "UpresError": "upres.errors",
    "UsageError": "upres.errors",
    "agreement": "upres.enlarging.agreement",
    "enlarge": "upres.enlarging.api",
    "enlarge_file": "upres.enlarging.api",
    "open_model": "upres.models",
}

__all__ = ["__version__", *_HOMES]


if not TYPE_CHECKING:  # else a type checker would take any name for one of upres

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module 'upres' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
