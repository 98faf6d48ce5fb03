from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import torch
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from torch.utils._python_dispatch import TorchDispatchMode

from upres.errors import InputError, OutputError
from upres.raster.resize import bicubic
from upres.training import cache, sources
from upres.training.data import Pairs, load_pairs, pair
from upres.training.degradations import DegradationName
from upres.training.patches import Patches
from upres.training.sources import PairedSource, read_pictures

CPU = torch.device("cpu")
PAIRED = PairedSource(hr="DIV2K_train_HR", lr="DIV2K_train_LR_bicubic/X2")


def texture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed).random((height // 4 + 1, width // 4 + 1, 3))
    return (bicubic(random, size=(height, width)).clip(0, 1) * 255).astype(np.uint8)


def save(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(image).pngsave(str(path))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with two pictures, a tar file with one, and a paired source with three."""
    folder = tmp_path / "data"
    for seed, name in enumerate(("a.png", "deeper/b.png")):
        save(folder / "train" / name, texture(40 + seed, 51, seed))
    content = pyvips.Image.new_from_array(texture(30, 30, 9)).pngsave_buffer()
    with tarfile.open(folder / "valid.tar", "w") as archive:
        info = tarfile.TarInfo("c.png")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    # LR is no bicubic of HR: it must be that of the files, not made.
    low, high = folder / PAIRED.lr, folder / PAIRED.hr
    for seed, (name, low_name) in enumerate(
        (("0001.png", "0001x2.png"), ("0002.png", "0002.png"), ("sub/0003.png", "sub/0003x2.tif"))
    ):
        save(high / name, texture(24, 20, seed))
        (low / low_name).parent.mkdir(parents=True, exist_ok=True)
        small = pyvips.Image.new_from_array(texture(12, 10, seed + 10))
        small.write_to_file(str(low / low_name))
    return folder


def pairs_of(*images: NDArray[np.uint8], scale: int = 2) -> Pairs:
    def rows() -> Iterator[cache.Row]:
        for image in images:
            low, high = (x.permute(1, 2, 0).numpy() for x in pair(image, scale))
            yield "made up", low, high

    pixels = cache.flat(rows())
    low, high = torch.from_numpy(pixels.low), torch.from_numpy(pixels.high)
    return Pairs(pixels.names, pixels.sizes, scale, low, high, from_files=False)


# Sources


def test_pictures_come_from_folders_and_tar_files(data: Path) -> None:
    pictures = list(read_pictures([data / "train", data / "valid.tar"]))
    assert [Path(name).name for name, _ in pictures] == ["a.png", "b.png", "valid.tar:c.png"]
    for (_, image), expected in zip(
        pictures, (texture(40, 51, 0), texture(41, 51, 1), texture(30, 30, 9)), strict=True
    ):
        assert np.array_equal(image, expected)
    with pytest.raises(InputError, match=r"none.tar: no such tar file or folder"):
        list(read_pictures([data / "none.tar"]))
    (data / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no pictures"):
        list(read_pictures([data / "empty"]))
    with tarfile.open(data / "empty.tar", "w"):
        pass
    with pytest.raises(InputError, match=r"empty.tar: holds no pictures"):
        list(read_pictures([data / "empty.tar"]))
    (data / "damaged.tar").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"damaged.tar: cannot read this tar file"):
        list(read_pictures([data / "damaged.tar"]))
    with tarfile.open(data / "many.tar", "w") as archive:
        for name in ("a", "b", "c"):
            archive.add(data / "train" / "a.png", f"{name}.png")
    content = (data / "many.tar").read_bytes()
    for kind, compress in (("gz", gzip.compress), ("xz", lzma.compress), ("bz2", bz2.compress)):
        packed = compress(content)
        path = data / f"many.tar.{kind}"
        path.write_bytes(packed)
        assert len(list(read_pictures([path]))) == 3
        middle = len(packed) // 2
        for broken in (packed[:middle], packed[:middle] + bytes(9) + packed[middle + 9 :]):
            path.write_bytes(broken)
            with pytest.raises(InputError, match=rf"many.tar.{kind}: cannot read this tar file"):
                list(read_pictures([path]))
    (data / "train" / "z.png").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"z.png: not a picture in a format"):
        list(read_pictures([data / "train"]))


def test_pictures_that_cannot_be_read_are_left_out_and_named(data: Path) -> None:
    plain = load_pairs(["train"], data, 2)
    whole = (data / "train" / "a.png").read_bytes()
    (data / "train" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (data / "train" / "aa.jpg").write_bytes(b"rubbish")
    with tarfile.open(data / "more.tar", "w") as archive:
        for name in ("aa.jpg", "cut.png"):
            archive.add(data / "train" / name, name)
    with pytest.raises(InputError, match=r"aa\.jpg: not a picture"):
        load_pairs(["train"], data, 2)
    kept = data / "cache"
    for folder in (None, kept, kept):  # the last from what the one before has left
        pairs = load_pairs(["train", "more.tar"], data, 2, strict=False, cache=folder)
        assert equal(pairs, plain)
        named = [why.split(": ")[0].rsplit("/")[-1] for why in pairs.left_out]
        assert named == ["aa.jpg", "cut.png", "more.tar:aa.jpg", "more.tar:cut.png"]
    with pytest.raises(InputError, match=r"of 2 training pictures none can be read: .*aa\.jpg"):
        load_pairs(["more.tar"], data, 2, strict=False)


def test_of_a_pair_both_halves_are_left_out(data: Path) -> None:
    names = load_pairs([PAIRED], data, 2).names
    low = data / PAIRED.lr / "0001x2.png"
    low.write_bytes(low.read_bytes()[:40])
    pairs = load_pairs([PAIRED], data, 2, strict=False)
    assert list(pairs.names) == names[1:]
    assert len(pairs.left_out) == 1
    assert str(low) in pairs.left_out[0]


def test_sources_appear_in_recipes_as_paths_or_tables() -> None:
    adapter = TypeAdapter(list[sources.DataSource])
    given = ["a.tar", {"hr": PAIRED.hr, "lr": PAIRED.lr}]
    assert adapter.validate_json(json.dumps(given)) == ["a.tar", PAIRED]
    with pytest.raises(ValidationError, match="unexpected"):
        adapter.validate_json(json.dumps([{"hr": "a", "lr": "b", "lq": "c"}]))


def test_pairs_are_found_by_the_field_s_names(data: Path) -> None:
    pairs = load_pairs([PAIRED], data, 2)
    assert [Path(name).name for name in pairs.names] == ["0001.png", "0002.png", "0003.png"]
    for seed, (low, high) in enumerate(pairs):
        assert np.array_equal(low.permute(1, 2, 0), texture(12, 10, seed + 10))
        assert np.array_equal(high.permute(1, 2, 0), texture(24, 20, seed))


def test_pictures_without_their_other_half(data: Path) -> None:
    save(data / PAIRED.hr / "0004.png", texture(24, 20, 4))
    with pytest.raises(InputError, match=r"0004.png: has no low-resolution.* or 0004x2.png"):
        load_pairs([PAIRED], data, 2)
    save(data / PAIRED.lr / "0004x2.png", texture(12, 10, 4))
    save(data / PAIRED.lr / "0005x2.png", texture(12, 10, 5))
    with pytest.raises(InputError, match=r"0005x2.png: has no high-resolution picture in"):
        load_pairs([PAIRED], data, 2)
    save(data / PAIRED.lr / "0001x2.jpg", texture(12, 10, 5))
    with pytest.raises(InputError, match=r"0001x2.*: cannot be told from .*0001x2"):
        load_pairs([PAIRED], data, 2)
    with pytest.raises(InputError, match="none: no such folder"):
        load_pairs([PairedSource(hr=PAIRED.hr, lr="none")], data, 2)


@pytest.mark.parametrize(("height", "width"), [(24, 22), (26, 20), (23, 20), (24, 19)])
def test_sizes_that_do_not_fit_name_both_files(data: Path, height: int, width: int) -> None:
    save(data / PAIRED.hr / "0002.png", texture(height, width, 4))
    expected = rf"HR/0002.png: its {width}x{height} pixels are not 2 times the 10x12 of .*X2/0002"
    with pytest.raises(InputError, match=expected):
        load_pairs([PAIRED], data, 2)


def test_a_remainder_of_the_scale_is_cropped(data: Path) -> None:
    image = texture(25, 21, 4)
    save(data / PAIRED.hr / "0002.png", image)
    _, high = list(load_pairs([PAIRED], data, 2))[1]
    assert np.array_equal(high.permute(1, 2, 0), image[:24, :20])


def test_pictures_are_shrunk_too(data: Path) -> None:
    pairs = load_pairs(["train"], data, 2, shrink=[0.5, 0.75])
    assert pairs.sizes[:3] == [(20, 25), (10, 13), (15, 19)]
    _, (low, high), *_ = pairs
    half = bicubic(texture(40, 51, 0), scale=0.5)
    assert np.array_equal(high.permute(1, 2, 0), half)
    assert np.array_equal(low.permute(1, 2, 0), bicubic(half, scale=0.5))
    with pytest.raises(
        InputError, match=r"DIV2K_train_HR: data\.shrink makes low resolution itself"
    ):
        load_pairs(["missing", PAIRED], data, 2, shrink=[0.5])  # before anything is read


def test_pictures_are_drawn_by_their_size() -> None:
    large, small = np.full((80, 80, 3), 255, np.uint8), np.zeros((40, 40, 3), np.uint8)
    source = patches(large, small, np.full((20, 20, 3), 100, np.uint8))
    _, high = source.sample(0, patch=16, batch=2000)
    assert set(high.unique().tolist()) == {0, 1}  # none of the one that is too small
    assert high.mean().item() == pytest.approx(0.8, abs=0.03)  # 3.4 standard deviations


# Pairs, and their cache


def test_low_resolution_is_made_where_files_have_none(data: Path) -> None:
    pairs = load_pairs(["train", PAIRED, "valid.tar"], data, 2)
    assert len(pairs) == 6
    assert pairs.from_files
    assert not load_pairs(["train"], data, 2).from_files
    low, high = next(iter(pairs))
    assert np.array_equal(high.permute(1, 2, 0), texture(40, 51, 0)[:, :50])
    assert np.array_equal(low.permute(1, 2, 0), bicubic(texture(40, 51, 0)[:, :50], scale=0.5))


@pytest.mark.parametrize("degradation", ["jpeg", "photo"])
def test_random_pairs_depend_on_seed_and_number(data: Path, degradation: DegradationName) -> None:
    image = texture(41, 51, 1)
    low, high = pair(image, 2, degradation=degradation, seed=3, index=1)
    assert low.shape == (3, 20, 25)
    assert low.dtype == torch.uint8
    assert np.array_equal(high.permute(1, 2, 0), image[:40, :50])
    pairs = list(load_pairs(["train", "valid.tar"], data, 2, degradation=degradation, seed=3))
    assert torch.equal(pairs[1][0], low)
    third, _ = pair(texture(30, 30, 9), 2, degradation=degradation, seed=3, index=2)
    assert torch.equal(pairs[2][0], third)
    for changed in ({"seed": 4, "index": 1}, {"seed": 3, "index": 0}):
        assert not torch.equal(pair(image, 2, degradation=degradation, **changed)[0], low)
    assert not torch.equal(pair(image, 2)[0], low)


def test_pictures_smaller_than_a_pixel(data: Path) -> None:
    save(data / "train" / "dot.png", texture(1, 9, 0))
    with pytest.raises(InputError, match=r"dot.png: is smaller than one pixel at 1/2"):
        load_pairs(["train"], data, 2)


def equal(a: Pairs, b: Pairs) -> bool:
    return (
        (list(a.names), list(a.sizes)) == (list(b.names), list(b.sizes))
        and torch.equal(a.low, b.low)
        and torch.equal(a.high, b.high)
    )


SOURCES = ["train", PAIRED, "valid.tar"]


def spoil(path: Path) -> None:
    """Make a picture unreadable, so that only its content tells."""
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_the_cache_spares_the_decoding(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    plain = load_pairs(SOURCES, data, 2)
    assert equal(load_pairs(SOURCES, data, 2, cache=folder), plain)
    (entry,) = folder.iterdir()
    assert sorted(os.listdir(entry)) == ["high.npy", "index.json", "low.npy"]
    assert np.array_equal(np.load(entry / "high.npy"), plain.high)
    for path in (data / "train" / "a.png", data / PAIRED.lr / "0002.png"):
        spoil(path)
    mapped = cache._read(entry, 2)
    assert mapped is not None
    assert isinstance(mapped.high, np.memmap)
    assert equal(load_pairs(SOURCES, data, 2, cache=folder), plain)
    with pytest.raises(InputError, match=r"a.png: not a picture"):
        load_pairs(SOURCES, data, 2, degradation="photo", cache=folder)


class Sevens:
    """Labels every picture with sevens."""

    def __init__(self, path: Path, *, weight: float = 0.5) -> None:
        self.path, self.weight, self.self_ensemble = path, weight, False
        self.labelled: list[int] = []

    def label(self, index: int, low: NDArray[Any], high: NDArray[Any]) -> NDArray[Any]:
        self.labelled.append(index)
        assert high.shape == (low.shape[0] * 2, low.shape[1] * 2, 3)
        return np.full_like(high, 7)


def test_a_teacher_labels_each_picture_once(data: Path, tmp_path: Path) -> None:
    (tmp_path / "teacher").touch()
    teacher, other = (Sevens(tmp_path / "teacher", weight=weight) for weight in (0.5, 0.4))

    def load(teacher: Any) -> Pairs:
        folder = tmp_path / "cache"
        return load_pairs(["train"], data, 2, shrink=[0.5], teacher=teacher, cache=folder)

    first = load(teacher)
    assert teacher.labelled == [0, 1, 2, 3]  # two pictures, each also shrunk
    assert first.high.unique().tolist() == [7]
    assert equal(load(teacher), first)
    assert len(teacher.labelled) == 4
    load(other)
    assert other.labelled == [0, 1, 2, 3]


def test_a_stale_or_damaged_cache_is_made_anew(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    first = load_pairs(SOURCES, data, 2, cache=folder)
    (entry,) = folder.iterdir()
    for name in ("high.npy", "low.npy", "index.json"):
        for content in (b"", b"rubbish", (entry / name).read_bytes()[:-1]):
            (entry / name).unlink()
            (entry / name).write_bytes(content)
            assert equal(load_pairs(SOURCES, data, 2, cache=folder), first)
            assert list(folder.iterdir()) == [entry]
        (entry / name).unlink()
        assert equal(load_pairs(SOURCES, data, 2, cache=folder), first)
    save(data / "train" / "a.png", texture(44, 44, 7))
    changed = load_pairs(SOURCES, data, 2, cache=folder)
    assert changed.sizes[0] == (22, 22)
    assert equal(changed, load_pairs(SOURCES, data, 2))
    shrunk = load_pairs(["train"], data, 2, cache=folder, shrink=[0.5])
    assert equal(shrunk, load_pairs(["train"], data, 2, shrink=[0.5]))


def test_processes_that_make_the_same_cache_at_once(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    together = threading.Barrier(3)
    results: list[cache.Pixels] = []

    def rows() -> Iterator[cache.Row]:
        image = texture(8, 8, 0)
        yield "one", image[::2, ::2], image
        together.wait()  # all are writing

    def make() -> None:
        results.append(cache.cached(folder, [data / "valid.tar"], None, 2, rows))

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    for pixels in results:
        assert np.array_equal(pixels.high, texture(8, 8, 0).reshape(-1, 3))
    assert len(list(folder.iterdir())) == 1


def test_a_cache_that_cannot_be_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np.lib.format, "write_array_header_1_0", full)
        with pytest.raises(OutputError, match=r"cache: cannot write .* here: No space left"):
            load_pairs(SOURCES, data, 2, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").touch()
    spoil(data / "train" / "a.png")  # it is not read before
    with pytest.raises(OutputError, match="cannot make this folder"):
        load_pairs(SOURCES, data, 2, cache=tmp_path / "file" / "cache")


def test_bad_pictures_leave_no_cache(data: Path, tmp_path: Path) -> None:
    (data / "train" / "z.png").write_bytes(b"rubbish")
    with pytest.raises(InputError, match=r"z.png: not a picture"):
        load_pairs(SOURCES, data, 2, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    for kept in (tmp_path / "cache", None):
        with pytest.raises(InputError, match=r"none.tar: no such tar file or .*: data names the"):
            load_pairs(["none.tar"], data, 2, cache=kept)


# Patches


def patches(*images: NDArray[np.uint8], scale: int = 2, **changes: Any) -> Patches:
    options = {"candidates": 1, "seed": 0} | changes
    return Patches(pairs_of(*images, scale=scale), device=CPU, **options)


@pytest.mark.parametrize("scale", [2, 3])
def test_patches_are_aligned_crops_in_all_eight_orientations(scale: int) -> None:
    images = [texture(40, 52, 0), texture(61, 33, 1)]
    low, high = patches(*images, scale=scale).sample(0, patch=6, batch=64)
    assert low.shape == (64, 3, 6, 6)
    assert high.shape == (64, 3, 6 * scale, 6 * scale)
    crops = {}  # every crop in every orientation -> the HR crop it belongs to
    for small, large in (pair(image, scale) for image in images):
        for top in range(small.shape[1] - 5):
            for left in range(small.shape[2] - 5):
                a = small[:, top : top + 6, left : left + 6]
                s = scale
                b = large[:, top * s : top * s + 6 * s, left * s : left * s + 6 * s]
                for orientation in range(8):
                    crops[orient(a, orientation).numpy().tobytes()] = (
                        orientation,
                        orient(b, orientation),
                    )
    seen = set()
    for one, other in zip((low * 255).round().byte(), (high * 255).round().byte(), strict=True):
        orientation, expected = crops[one.contiguous().numpy().tobytes()]
        seen.add(orientation)
        assert torch.equal(other, expected)
    assert seen == set(range(8))


def orient(x: torch.Tensor, orientation: int) -> torch.Tensor:
    if orientation & 1:
        x = x.flip(1)
    if orientation & 2:
        x = x.flip(2)
    return (x.mT if orientation & 4 else x).contiguous()


@pytest.mark.parametrize("degradation", ["bicubic", "jpeg", "photo"])
def test_batches_depend_on_seed_and_step_only(degradation: str) -> None:
    image = texture(60, 72, 0)
    first = patches(image, degradation=degradation)
    first.sample(3, patch=8, batch=4)
    a = first.sample(7, patch=6, batch=16)
    b = patches(image, degradation=degradation).sample(7, patch=6, batch=16)
    assert torch.equal(a[0], b[0])
    assert torch.equal(a[1], b[1])
    assert not torch.equal(a[0], first.sample(8, patch=6, batch=16)[0])
    other = patches(image, degradation=degradation, seed=1)
    assert not torch.equal(a[0], other.sample(7, patch=6, batch=16)[0])


@pytest.mark.parametrize("degradation", ["bicubic", "jpeg", "photo"])
@pytest.mark.parametrize("candidates", [1, 3])
def test_parts_together_are_the_whole_batch(degradation: str, candidates: int) -> None:
    source = patches(
        texture(60, 72, 0), texture(99, 60, 1), candidates=candidates, degradation=degradation
    )
    for step in range(3):
        whole = source.sample(step, patch=8, batch=12)
        for part in range(3):
            got = source.sample(step, patch=8, batch=12, part=part, parts=3)
            assert torch.equal(got[0], whole[0][part::3])
            assert torch.equal(got[1], whole[1][part::3])
    for wrong in ({"part": 0, "parts": 5}, {"part": 3, "parts": 3}):
        with pytest.raises(ValueError, match="a batch of 12 has no part"):
            source.sample(0, patch=8, batch=12, **wrong)


def test_candidates_prefer_detail() -> None:
    flat = np.full((200, 200, 3), 99, np.uint8)

    def flat_share(candidates: int) -> float:
        source = patches(flat, texture(200, 200, 0), candidates=candidates)
        low, _ = source.sample(0, patch=6, batch=64)
        return float((low.std((1, 2, 3)) < 1e-3).float().mean())

    assert 0.3 < flat_share(1) < 0.7
    assert flat_share(2) < 0.15


def test_pictures_smaller_than_a_patch_are_left_out() -> None:
    small, large = np.full((8, 52, 3), 99, np.uint8), np.full((40, 52, 3), 199, np.uint8)
    for order in ((small, large), (large, small)):
        source = patches(*order)
        assert [source.usable(patch) for patch in (4, 5, 20)] == [2, 1, 1]
        both, one = (source.sample(0, patch=patch, batch=99)[1] for patch in (4, 6))
        assert both.unique().mul(255).tolist() == [99, 199]
        assert one.unique().mul(255).tolist() == [199]
        with pytest.raises(InputError, match="no training picture has 42 pixels a side"):
            source.usable(21)
        with pytest.raises(InputError, match="no training picture has 42 pixels a side"):
            source.sample(0, patch=21, batch=1)


def test_photo_patches_belong_together() -> None:
    source = patches(texture(99, 120, 0), degradation="photo")
    pairs = [source.sample(step, patch=9, batch=32) for step in range(4)]
    assert {low.shape for low, _ in pairs} == {(32, 3, 9, 9)}
    assert {high.shape for _, high in pairs} == {(32, 3, 18, 18)}
    low, high = (torch.cat(each) for each in zip(*pairs, strict=True))
    means = torch.nn.functional.avg_pool2d(high, 2)
    error = (low - means).abs().mean()
    for shifts in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        assert (low - means.roll(shifts, (2, 3))).abs().mean() > 1.25 * error


@pytest.mark.parametrize("degradation", ["jpeg", "photo"])
def test_low_resolution_from_files_is_not_degraded(
    data: Path, degradation: DegradationName
) -> None:
    pairs = load_pairs([PAIRED], data, 2)
    with pytest.raises(InputError, match=f"{degradation} makes low resolution itself"):
        Patches(pairs, candidates=1, seed=0, device=CPU, degradation=degradation)


class Watch(TorchDispatchMode):
    """Notes operations that would make the host wait for a GPU."""

    waits = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "lift_fresh")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indices = args[1] if "index.Tensor" in str(func) else []
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if by_mask or any(name in str(func) for name in self.waits):
            self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_the_watch_sees_what_waits() -> None:
    x = torch.ones(3)
    for wait in (lambda: x[0].item(), lambda: x[x > 0], lambda: torch.tensor([1.0, 2.0])):
        with Watch() as watch:
            wait()
        assert watch.seen


@pytest.mark.parametrize("degradation", ["bicubic", "jpeg", "photo"])
def test_no_batch_waits_for_the_device(degradation: str) -> None:
    source = patches(texture(60, 72, 0), candidates=2, degradation=degradation)
    for step in range(10):  # every branch and every constant once
        source.sample(step, patch=8, batch=4)
    with Watch() as watch:
        for step in range(10):
            source.sample(step, patch=8, batch=4, part=1, parts=2)
    assert watch.seen == []
