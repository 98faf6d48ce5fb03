"""The journal of a run into an object store, which makes it resumable.

Objects cannot be appended to, so the lines are in segments of ``.upres-journal/`` below the output.
``run.json`` there has the request. A line is written after its result, so a line that is lost only
costs repeated work. The journal stays when the run has come to its end: to resume it then is to
do the pictures that are new or changed.

There are no locks in stores. ``owner`` names the process that writes; whoever resumes a run puts
its own name there, and the other stops when it next looks.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upres.errors import ExistsError, InputError, OutputError, UsageError
from upres.files import PROCESS
from upres.models import Settled
from upres.runs.journal import difference, interrupted, settled_in
from upres.runs.places import Location
from upres.runs.stores import Store

FOLDER = ".upres-journal"
LAYOUT = 1

SEGMENT_SECONDS = 5.0
SEGMENT_LINES = 1000
"""Lines wait for so many seconds, or for so many others: each segment is a request."""


class StoreJournal:
    """See ``upres.runs.batch.RunJournal``; ``opened_in`` gives it.

    Of a line that is read, 16 bytes are kept, and 8 of a result that is there.
    """

    def __init__(self, store: Store, place: Location, started: float, *, finished: bool) -> None:
        self.continued = False
        """Whether it goes on with a run that was begun before."""
        self.settled: Settled | None = None
        """How the models of that run were computed."""
        self._store, self._place = store, place
        self._started = started
        self._finished = finished
        self._pairs: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._stamps: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._there: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._pending: list[dict[str, object]] = []
        self._committed = time.monotonic()
        self._segments = 0
        self._any = False

    @property
    def is_empty(self) -> bool:
        """Whether no picture is done yet."""
        return not (self._any or len(self._pairs) or self._pending)

    def has_done(self, source: Location, stamp: str, target: Location) -> bool:
        """Whether ``target`` was made from ``source`` of this stamp, and is there still."""
        at = self._found(source, target)
        if at is None or self._stamps[at] != _hash(stamp):
            return False
        return _place_in(self._there, _hash(self._relative(target))) is not None

    def has_made(self, source: Location, target: Location) -> bool:
        """Whether ``target`` was made from ``source``, of whatever stamp."""
        return self._found(source, target) is not None

    def known(self, target: Any) -> float | None:
        """When the run that was interrupted began, by the store's clock, if one was.

        A result that is there since was made by it, be it that its line was lost.
        """
        return self._started if self.continued and not self._finished else None

    def done(self, source: Location, stamp: str, target: Location) -> None:
        """Note that ``target`` is made; ``commit`` writes it."""
        self._note(source, target, stamp=stamp, result="done")

    def failed(self, source: Location, target: Location, why: str) -> None:
        """Note a failure, for whoever reads the journal: the picture will be tried again."""
        self._note(source, target, result="failed", why=why)

    def commit(self, *, at_once: bool = False) -> None:
        """Write the lines that wait, if it is time to.

        Raises ``OutputError`` if that fails, or if another process has taken the run over.
        """
        now = time.monotonic()
        late = now - self._committed >= SEGMENT_SECONDS or len(self._pending) >= SEGMENT_LINES
        if not self._pending or not (at_once or late):
            return
        self._committed = now
        if self._store.content(self._key("owner")) != PROCESS.encode():
            self._pending.clear()
            raise OutputError(f"{self._place}: another upres has taken this run over")
        lines = "".join(f"{json.dumps(line)}\n" for line in self._pending)
        self._segments += 1
        name = f"{self._segments:08}-{PROCESS}.jsonl"
        self._store.send(lines.encode(), self._key(name))
        self._any = True
        self._pending.clear()

    def remove(self) -> None:
        """Note that there is nothing to go on with; what was done stays known."""
        with suppress(InputError, OutputError):
            if self._store.content(self._key("owner")) != PROCESS.encode():
                return  # another goes on with it
            if self.is_empty:
                for found in self._store.list(self._key()):
                    self._store.remove(found.key)
            else:
                self._store.send(b"", self._key("finished"))

    def _note(self, source: Location, target: Location, **facts: object) -> None:
        self._pending.append({"source": str(source), "output": self._relative(target), **facts})

    def _relative(self, target: Location) -> str:
        return target.key.removeprefix(self._place.key).lstrip("/")

    def _found(self, source: Location, target: Location) -> int | None:
        """The number of the last line on this picture and result."""
        return _place_in(self._pairs, _hash(str(source), self._relative(target)))

    def _key(self, name: str = "") -> str:
        return self._place.inside(f"{FOLDER}/{name}" if name else FOLDER).key

    def number_on(self) -> list[str]:
        """The keys of the segments that are there, in order; the next is numbered behind them."""
        keys = sorted(found.key for found in self._store.list(self._key()))
        keys = [key for key in keys if re.fullmatch(r"\d{8}-.*\.jsonl", PurePath(key).name)]
        self._segments = int(PurePath(keys[-1]).name[:8]) if keys else 0
        return keys

    def read(self) -> None:
        """Take over the lines that are there."""
        pairs, stamps, there = array("Q"), array("Q"), array("Q")
        for key in self.number_on():
            for line in _lines(self._store.content(key) or b""):
                pairs.append(_hash(line["source"], line["output"]))
                stamps.append(_hash(line["stamp"]))
        numbers = np.frombuffer(pairs, np.uint64) if pairs else self._pairs
        order = np.argsort(numbers, kind="stable")  # of several lines on one, the last counts
        self._pairs = numbers[order]
        if pairs:
            self._stamps = np.frombuffer(stamps, np.uint64)[order]
            # Someone may have removed results since: one list tells of all.
            for found in self._store.list(self._place.key):
                there.append(_hash(self._relative(Location(self._place.root, found.key))))
            self._there = np.sort(np.frombuffer(there, np.uint64))


def opened_in(
    store: Store,
    place: Location,
    asked: Mapping[str, object],
    *,
    resume: bool,
    anew: bool,
    settled: Settled = (),
) -> StoreJournal:
    """Begin the journal of a run into ``place``, or ``resume`` the one that is there.

    ``asked`` is all that decides the outputs' bytes, but for how models are computed: that is
    ``settled`` at the beginning, and the journal tells it whoever resumes. ``anew`` lets a journal
    that was left unfinished be replaced.

    Raises ``OutputError`` if an unfinished journal is there and neither is set, or if it cannot be
    written; ``UsageError`` if the run to be resumed was asked for with other options.
    """
    asked = json.loads(json.dumps(asked))
    run, finished = (place.inside(f"{FOLDER}/{name}").key for name in ("run.json", "finished"))
    header, ended = _header(store.content(run)), store.head(finished) is not None
    if header is not None and not ended and not resume and not anew:
        raise interrupted(str(place), "was interrupted, or is under way")
    if header is not None and resume:
        if header["asked"] != asked:
            raise UsageError(difference(str(place), header["asked"], asked))
        _own(store, place)
        journal = StoreJournal(store, place, header["started"], finished=ended)
        journal.continued, journal.settled = True, settled_in(header)
        journal.read()
        store.remove(finished)
        return journal
    _own(store, place)
    # Lines of a run that was asked for alike stay true, for whoever resumes this one.
    made = [list(pair) for pair in settled]
    if header is None or header["asked"] != asked or header.get("settled", made) != made:
        for found in [*store.list(place.inside(FOLDER).key)]:
            if found.key.endswith(".jsonl"):
                store.remove(found.key)
    store.remove(finished)
    # The store's own clock, as results' times are compared with it.
    owner = store.head(place.inside(f"{FOLDER}/owner").key)
    started = owner.modified if owner else time.time()
    begun = {"version": LAYOUT, "started": started, "asked": asked, "settled": made}
    store.send(json.dumps(begun).encode(), run)
    journal = StoreJournal(store, place, started, finished=False)
    journal.number_on()
    return journal


def reading(store: Store, place: Location) -> StoreJournal | None:
    """The journal that is there, for reading only; ``None`` if there is none."""
    folder = f"{FOLDER}/"
    header = _header(store.content(place.inside(f"{folder}run.json").key))
    if header is None:
        return None
    finished = store.head(place.inside(f"{folder}finished").key) is not None
    journal = StoreJournal(store, place, header["started"], finished=finished)
    journal.read()
    return journal


def honours_create(store: Store, place: Location) -> bool:
    """Whether a store refuses to overwrite where that is asked for; raises ``OutputError``."""
    key = place.inside(f"{FOLDER}/probe-{PROCESS}").key
    store.send(b"1", key)
    try:
        store.send(b"2", key, create=True)
    except ExistsError:
        return True
    finally:
        store.remove(key)
    return False


def _own(store: Store, place: Location) -> None:
    store.send(PROCESS.encode(), place.inside(f"{FOLDER}/owner").key)


def _header(content: bytes | None) -> dict[str, Any] | None:
    try:
        header = json.loads(content or b"")
    except ValueError:
        return None
    kinds = {"started": float, "asked": dict}
    if not isinstance(header, dict) or header.get("version") != LAYOUT:
        return None
    return header if all(isinstance(header.get(k), kind) for k, kind in kinds.items()) else None


def _lines(content: bytes) -> Iterator[dict[str, Any]]:
    """The lines on pictures that are done."""
    for text in content.splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if not isinstance(line, dict) or line.get("result") != "done":
            continue
        if all(isinstance(line.get(key), str) for key in ("source", "output", "stamp")):
            yield line


def _place_in(numbers: NDArray[np.uint64], number: int) -> int | None:
    """The last place of a number among sorted ones."""
    at = int(np.searchsorted(numbers, np.uint64(number), "right")) - 1
    return at if at >= 0 and numbers[at] == number else None


def _hash(*parts: str) -> int:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
