# demo, test, check, fuzz, bench and results make their own environment in .venv.
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

demo: .venv/base.done ; $(BIN)/python demo/compare.py
test: check ; $(BIN)/python -m pytest
check: .venv/dev.done ; $(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy
fuzz: .venv/dev.done ; UPRES_FUZZ_CASES=2000 $(BIN)/python -m pytest tests/test_fuzz.py
bench: .venv/dev.done ; set -e; for name in bench precisions memory start folder cores end_to_end service training video steady widths; do $(BIN)/python benchmarks/$$name.py; done
results: .venv/dev.done ; $(BIN)/python benchmarks/results.py

.venv/base.done: pyproject.toml constraints.txt ; python3 -m venv .venv && $(PIP) --editable . && touch $@
# spandrel asks for torchvision, which has no build for CPUs alone. The tests do without.
.venv/dev.done: .venv/base.done ; $(PIP) --editable '.[dev]' && $(PIP) --no-deps spandrel einops && touch $@

.PHONY: demo test check fuzz bench results
