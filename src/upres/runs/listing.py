"""The pictures of a run over object stores, as its lists tell of them, a few at a time."""

from __future__ import annotations

import glob
import hashlib
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from upres.errors import InputError, OutputError, Remedy, UpresError, UsageError
from upres.formats.registry import OTHER_SUFFIXES, called, suffix_of_name
from upres.runs.jobs import result_of_name
from upres.runs.places import FILES, READ_ONLY, Found, Location, is_url, located
from upres.runs.store_journal import StoreJournal
from upres.runs.stores import Store

MOST_NOT_READ = 1000
"""Objects that are passed over and named; of more the first."""


class StoreJob(NamedTuple):
    """An object to enlarge, and where to."""

    source: Location
    target: Location
    found: Found
    made: bool = False
    """Whether the run before has made that result, of whatever version of the object."""

    @property
    def weight(self) -> float:
        """Bytes: of pictures in one format, they tell best how long each takes."""
        return self.found.size or 1


@dataclass(frozen=True)
class Chosen:
    """An input: a folder, or one object."""

    place: Location
    only: Found | None = None


@dataclass
class Count:
    """The number of pictures that are to be made, and of those that are passed over."""

    pictures: int = 0
    size: int = 0
    """Bytes of all."""
    weight: float = 0
    finished: int = 0
    """Pictures that the journal has as done."""
    not_read: list[Location] = field(default_factory=list)


def chosen_inputs(
    inputs: Sequence[str], stores: Mapping[str, Store]
) -> tuple[list[Chosen], list[tuple[Location, UpresError]]]:
    """The inputs, each looked at once; and those that are neither object nor folder.

    Raises ``UsageError`` for patterns in a store, ``InputError`` if none of them is there.
    """
    chosen: list[Chosen] = []
    missing: list[tuple[Location, UpresError]] = []
    for text in inputs:
        paths = [text]
        if not is_url(text) and glob.has_magic(text) and not os.path.exists(text):
            paths = sorted(glob.glob(text, recursive=True)) or [text]
        for path in paths:
            place = located(path)
            try:
                chosen.append(_looked_at(path, place, stores[place.root]))
            except InputError as error:
                missing.append((place, error))
    if missing and not chosen:
        raise missing[0][1]
    return list(dict.fromkeys(chosen)), missing


def _looked_at(path: str, place: Location, store: Store) -> Chosen:
    """An input, as a store has it; raises as ``chosen_inputs`` does."""
    found = None if path.endswith("/") or not place.key else store.head(place.key)
    if place.root.partition("://")[0] in READ_ONLY:
        if found is None:
            raise InputError(f"{place}: there is no such file, or the server tells nothing of it")
        return Chosen(place, found)
    # Programs that show stores as folders make an empty object that stands for one.
    if found is not None and found.size:
        return Chosen(place, found)
    if next(store.list(place.key), None) is not None:
        return Chosen(place)
    if found is not None:
        return Chosen(place, found)
    if glob.has_magic(path):
        raise UsageError(f"{path}: patterns are for local files: name a folder")
    raise InputError(f"{place}: no such object, nor a folder")


@dataclass(frozen=True)
class Pictures:
    """All pictures of a run, in the order in which the stores list them."""

    chosen: Sequence[Chosen]
    stores: Mapping[str, Store]
    output: Location
    """A folder, or the one result if ``single``."""
    single: bool
    mark: str
    """The size in results' names."""
    suffix: str | None = None
    recursive: bool = False
    journal: StoreJournal | None = None

    def count(self) -> Count:
        """Go through all once, and count.

        Raises ``OutputError`` if two pictures would get one name, or one a name among the pictures,
        ``InputError`` if there is none.
        """
        count = Count()
        places = array("Q")
        refused = self._refused()
        for job in self._all(count.not_read):
            if job.target in refused.objects or job.target.key.startswith(refused.folders):
                raise OutputError(
                    f"{job.target}: {job.source} would be written here, among the pictures to be "
                    "enlarged: choose another folder"
                )
            places.append(_number(job.target))
            if self._has_done(job):
                count.finished += 1
                continue
            count.pictures += 1
            count.size += job.found.size
            count.weight += job.weight
        self._refuse_twins(places)
        if not places:
            deeper = Remedy("recursive", "looks into its folders, too", True)
            remedies = () if self.recursive else (deeper,)
            raise InputError(f"{self.chosen[0].place}: no pictures in this folder", *remedies)
        return count

    def jobs(self) -> Iterator[StoreJob]:
        """Those that are to be made."""
        for job in self._all([]):
            if not self._has_done(job):
                made = self.journal is not None and self.journal.has_made(job.source, job.target)
                yield job._replace(made=made)

    def _has_done(self, job: StoreJob) -> bool:
        journal = self.journal
        return journal is not None and journal.has_done(job.source, job.found.stamp, job.target)

    def _all(self, not_read: list[Location]) -> Iterator[StoreJob]:
        before = list[Chosen]()  # of these folders, what is named again is not taken again
        named = set[Location]()
        for each in self.chosen:
            place = each.place
            if each.only is not None:
                if not any(self._takes(folder, place) for folder in before):
                    named.add(place)
                    target = self.output if self.single else self._target(place.name)
                    yield StoreJob(place, target, each.only)
                continue
            for found in self.stores[place.root].list(place.key):
                source = Location(place.root, found.key)
                if not self._takes(each, source) or source in named:
                    continue
                if any(self._takes(folder, source) for folder in before):
                    continue
                relative = found.key[_start(each) :]
                suffix = suffix_of_name(relative.rpartition("/")[2])
                if called(suffix) is not None:
                    yield StoreJob(source, self._target(relative), found)
                elif suffix in OTHER_SUFFIXES and len(not_read) < MOST_NOT_READ:
                    not_read.append(source)
            before.append(each)

    def _takes(self, folder: Chosen, source: Location) -> bool:
        """Whether an object is in a folder, and not hidden, too deep, or a result."""
        place, key = folder.place, source.key
        if source.root != place.root or (place.key and not key.startswith(f"{place.key}/")):
            return False
        # Strings, as paths take ten times as long, and there may be millions.
        start = _start(folder)
        if key.startswith(".", start) or key.find("/.", start) >= 0:
            return False
        if not self.recursive and key.find("/", start) >= 0:
            return False
        return not (self._is_inside(place) and key.startswith(f"{self.output.key}/"))

    def _is_inside(self, folder: Location) -> bool:
        """Whether the results go into a folder within this one."""
        if self.single or folder.root != self.output.root:
            return False
        return not folder.key or self.output.key.startswith(f"{folder.key}/")

    def _refused(self) -> _Refused:
        """The places where no result may go."""
        same = [each for each in self.chosen if each.place.root == self.output.root]
        inside = f"{self.output.key}/" if self.output.key else ""
        folders = (f"{each.place.key}/" for each in same if each.only is None)
        return _Refused(
            frozenset(each.place for each in same if each.only is not None),
            tuple(key for key in folders if key.startswith(inside)),
        )

    def _target(self, relative: str) -> Location:
        folder, slash, name = relative.rpartition("/")
        name = result_of_name(name, self.mark, self.suffix)
        return self.output.inside(f"{folder}{slash}{name}")

    def _refuse_twins(self, places: array[int]) -> None:
        """Raise ``OutputError`` if two pictures would become one result, by their numbers."""
        numbers = np.sort(np.frombuffer(places, np.uint64)) if places else np.zeros(0, np.uint64)
        twins = set(numbers[1:][numbers[1:] == numbers[:-1]].tolist())
        if not twins:
            return
        seen: dict[Location, Location] = {}
        for job in self._all([]):  # a second time, as the names were not kept
            if _number(job.target) not in twins:
                continue
            if job.target in seen:
                both = f"{seen[job.target]} and {job.source}"
                raise OutputError(f"{job.target}: both {both} would be written here")
            seen[job.target] = job.source


class _Refused(NamedTuple):
    objects: frozenset[Location]
    """Pictures that are named one by one."""
    folders: tuple[str, ...]
    """Keys of folders that lie inside the output."""


def _start(folder: Chosen) -> int:
    """Where the part of a key begins that says where in a folder it is."""
    return len(folder.place.key) + 1 if folder.place.key else 0


def refuse_output(output: Location, chosen: Sequence[Chosen], *, single: bool) -> None:
    """Raise ``UsageError`` if results cannot go there, ``OutputError`` if one were an input."""
    if output.root.partition("://")[0] in READ_ONLY:
        raise UsageError(f"{output}: an HTTP server is read only: name a bucket or a folder")
    if single and (len(chosen) > 1 or chosen[0].only is None):
        raise UsageError(f"{output}: several pictures need a folder, not a file")
    for each in chosen:
        if each.place == output and each.only is None:
            raise UsageError(f"{output}: is the folder of the pictures itself: choose another")
        if each.place == output:
            raise OutputError(f"{output}: is the picture itself: choose another name")


def stores_of(places: Sequence[Location]) -> dict[str, Store]:
    """A store for each root that is named, and for local files."""
    return {root: Store(root) for root in {FILES, *(place.root for place in places)}}


def _number(place: Location) -> int:
    """A number of 64 bits: names of ten million results take 80 MB by it."""
    digest = hashlib.blake2b(place.key.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")
