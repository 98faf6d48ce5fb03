"""Which pictures a list of a store gives, and where to; the store is simulated."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from upres.errors import InputError, OutputError
from upres.runs.jobs import result_name
from upres.runs.listing import Chosen, Pictures, chosen_inputs
from upres.runs.places import Found, Location, located
from upres.runs.stores import Store

KEYS = 10_000


class Simulated(Store):
    """A store that lists keys, and holds no more."""

    def __init__(self, keys: Iterable[str], *, empty: Iterable[str] = ()) -> None:
        super().__init__("s3://b")
        self._keys, self._empty = keys, empty

    def list(self, prefix: str) -> Iterator[Found]:
        if prefix == "broken":
            raise InputError("s3://b/broken: cannot list")
        for key in self._keys:
            if not prefix or key.startswith(f"{prefix}/"):
                yield Found(key, 1000, "1", 0.0)

    def head(self, key: str) -> Found | None:
        if key in self._empty:
            return Found(key, 0, "1", 0.0)
        return Found(key, 1000, "1", 0.0) if key in self._keys else None


def pictures(
    store: Store, inputs: list[str], output: str = "s3://b/out", *, recursive: bool = True
) -> Pictures:
    stores = {store.root: store}
    chosen, _ = chosen_inputs(inputs, stores)
    return Pictures(chosen, stores, located(output), False, "x2", recursive=recursive)


def pairs(listing: Pictures) -> dict[str, str]:
    return {job.source.key: job.target.key for job in listing.jobs()}


NAMES = [
    *("a.png", "sp ace.JPG", "per%20cent.png", "a+b#c?.webp", "ünï-图.tif", "raw.NEF", "n.nii.gz"),
    *("two.dots.png", "sub/a.png", "sub.png/deep er/a.jpeg", "tail..png", "İ.png", "movie.AVI"),
]
OTHERS = [".png", ".hidden.png", "no_suffix", "a.png.", ".sub/a.png", "sub/.sub/a.png", "a.txt"]


def test_names_are_those_of_paths() -> None:
    store = Simulated([f"in/{name}" for name in (*NAMES, *OTHERS)])
    assert pairs(pictures(store, ["s3://b/in"])) == {
        f"in/{name}": str(PurePosixPath("out", path.with_name(result_name(path, "x2", None))))
        for name in NAMES
        for path in [PurePosixPath(name)]
    }
    flat = pairs(pictures(store, ["s3://b/in"], recursive=False))
    assert flat.keys() == {f"in/{name}" for name in NAMES if "/" not in name}


@pytest.mark.parametrize("order", [1, -1])
def test_a_picture_that_is_named_twice_is_taken_once(order: int) -> None:
    store = Simulated(["in/a.png", "in/sub/b.png", "in/sub/.c.png"])
    inputs = ["s3://b/in", "s3://b/in/sub", "s3://b/in/a.png", "s3://b/in/a.png"][::order]
    listing = pictures(store, inputs)
    assert listing.count().pictures == 2
    name = "sub/b" if order == 1 else "b"  # by the first that names it
    assert pairs(listing) == {"in/a.png": "out/a_x2.png", "in/sub/b.png": f"out/{name}_x2.png"}
    hidden = pictures(store, ["s3://b/in/sub", "s3://b/in/sub/.c.png"])
    assert ".c_x2.png" in str(pairs(hidden))  # no folder gives it


def test_no_result_is_written_among_the_pictures() -> None:
    store = Simulated(["in/in/a.png", "in/b.png", "p.png", "q_x2.png", "d/q.png"])
    above = pictures(store, ["s3://b/in"], "s3://b")
    with pytest.raises(OutputError, match=r"in/a_x2.png: s3://b/in/in/a.png would be written here"):
        above.count()
    over = pictures(store, ["s3://b/q_x2.png", "s3://b/d/q.png"], "s3://b")
    with pytest.raises(OutputError, match=r"q_x2.png: s3://b/d/q.png would be written here"):
        over.count()
    # Above the pictures, but not among them; and within them, where results are no pictures.
    assert pairs(pictures(store, ["s3://b/d"], "s3://b")) == {"d/q.png": "q_x2.png"}
    store = Simulated(["in/a.png", "in/large/a_x2.png", "in/larger/b.png"])
    listing = pictures(store, ["s3://b/in"], "s3://b/in/large")
    assert listing.count().pictures == 2
    assert pairs(listing).keys() == {"in/a.png", "in/larger/b.png"}


def test_an_empty_object_may_stand_for_a_folder() -> None:
    store = Simulated(["in/a.png", "whole/a.png", "whole"], empty=["in", "void.png"])
    chosen, missing = chosen_inputs(
        ["s3://b/in", "s3://b/void.png", "s3://b/whole", "s3://b/whole/", "s3://b/broken"],
        {"s3://b": store},
    )
    only = [each.only and each.only.key for each in chosen]
    assert only == [None, "void.png", "whole", None]
    assert [str(error) for _, error in missing] == ["s3://b/broken: cannot list"]


class Keys(Iterable[str]):
    """So many keys, none of which is held."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[str]:
        return (f"in/{number:09}/picture.jpg" for number in range(self.count))


def memory_of_a_list(count: int) -> int:
    """The most bytes that Python holds while so many keys are counted, and listed as jobs."""
    store = Simulated(Keys(count))
    place = Location(store.root, "in")
    stores, out = {store.root: store}, Location(store.root, "out")
    listing = Pictures([Chosen(place)], stores, out, False, "x2", recursive=True)
    next(listing.jobs())  # what is loaded and compiled once is no memory of keys
    tracemalloc.start()
    counted = listing.count()
    for _ in listing.jobs():
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert counted.pictures == count
    return most


def test_a_long_list_takes_little_memory() -> None:
    # In a process of its own: threads that tests before have left may take memory, too.
    code = f"import test_listing; print(test_listing.memory_of_a_list({KEYS}))"
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    # A number for each, and a few more while they are sorted.
    assert int(done.stdout) < KEYS * 40 + 2**19
