"""A service with a fake engine in a process of its own: ``python fake_service.py SECONDS JSON``.

A window takes so many seconds. Its settings are an object of JSON. It prints its address.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from slow import slow_backend

from upres.service.server import run
from upres.service.settings import Settings


def main() -> None:
    seconds, settings = float(sys.argv[1]), json.loads(sys.argv[2])
    backend = partial(slow_backend, seconds)
    run(
        Settings(port=0, backend_of=backend, **settings),
        started=lambda address: print(address, flush=True),
    )


if __name__ == "__main__":
    main()
