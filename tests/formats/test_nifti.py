"""NIfTI files, judged by nibabel and SimpleITK."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract import FileSourceTests, check_refused_in_one_line
from numpy.typing import NDArray

import fakes
import upres
from fakes import FakeBackend, fake_model
from upres.enlarging.files import open_file
from upres.enlarging.options import Options
from upres.errors import InputError, OutputError

nibabel = pytest.importorskip("nibabel")
SimpleITK = pytest.importorskip("SimpleITK")

Array = NDArray[Any]

# Turned, with voxels of three sizes, and a corner of its own.
AFFINE = np.array([[1.9, 0.3, 0.1, -20], [-0.25, 2.2, 0.4, 31], [0.1, -0.5, 4, 7], [0, 0, 0, 1]])


def volume(*shape: int, dtype: Any = np.int16) -> Array:
    """Smooth samples with an edge, from -200 to 900, or from 0."""
    grids = np.meshgrid(*map(np.arange, shape), indexing="ij")
    wave = sum(np.sin(grid / (3 + 2 * number)) for number, grid in enumerate(grids))
    wave = np.asarray(wave + (grids[0] > shape[0] / 2))
    low = -200 if np.dtype(dtype).kind in "if" and np.dtype(dtype).itemsize > 1 else 0
    most = 100 if np.dtype(dtype).itemsize == 1 else 900
    samples = low + (wave - wave.min()) / np.ptp(wave) * (most - low)
    return samples.astype(dtype)


def stored(path: Path, samples: Array, **fields: Any) -> Path:
    kind = nibabel.Nifti2Image if fields.pop("two", False) else nibabel.Nifti1Image
    image = kind(samples, fields.pop("affine", AFFINE))
    image.set_sform(AFFINE, 2)
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def raw(path: Path) -> Array:
    return np.asarray(nibabel.load(path).dataobj.get_unscaled())


def reduced(samples: Array, *factors: int) -> Array:
    """The mean of each ``factors`` samples along the first axes."""
    for axis, factor in enumerate(factors):
        shape = samples.shape
        parts = (*shape[:axis], shape[axis] // factor, factor, *shape[axis + 1 :])
        samples = samples.astype(float).reshape(parts).mean(axis + 1)
    return samples


class TestSource(FileSourceTests):
    suffix = ".nii"

    def stored(self, path: Path) -> Array:
        samples = volume(40, 30, 5, 2)
        stored(path, samples)
        return np.moveaxis(samples, (3, 2, 1, 0), (0, 1, 2, 3)).reshape(10, 30, 40, 1)


class TestCompressedSource(TestSource):
    suffix = ".nii.gz"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
)
def test_each_sample_is_the_mean_of_its_result(tmp_path: Path, dtype: str, suffix: str) -> None:
    source = stored(tmp_path / f"a{suffix}", volume(21, 16, 3, 2, dtype=dtype))
    target = tmp_path / f"b{suffix}"
    assert fakes.enlarge_file(source, target, ripple=0.1) == ()
    given, made = raw(source), raw(target)
    assert made.dtype == given.dtype == np.dtype(dtype)
    assert made.shape == (42, 32, 3, 2)
    atol = 1e-3 if made.dtype.kind == "f" else 0
    np.testing.assert_allclose(reduced(made, 2, 2), given, rtol=0, atol=atol)
    assert (made.min() >= 0) == (given.min() >= 0)


@pytest.mark.parametrize("through_plane", [False, True])
@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("codes", [(1, 1), (1, 4), (0, 2), (3, 0)])
def test_the_ground_stays_the_same(
    tmp_path: Path, codes: tuple[int, int], two: bool, through_plane: bool
) -> None:
    source = stored(tmp_path / "a.nii", volume(12, 10, 6), two=two)
    image = nibabel.load(source)
    turned = nibabel.eulerangles.euler2mat(0.3, 0.2, 0.1) @ np.diag([2, 2.5, 4])
    qform = np.eye(4)
    qform[:3, :3], qform[:3, 3] = turned, (5, 6, 7)
    image.set_qform(qform, codes[0])
    image.set_sform(AFFINE, codes[1])
    nibabel.save(image, source)
    target = tmp_path / "b.nii"
    fakes.enlarge_file(source, target, through_plane=through_plane)
    before, after = nibabel.load(source), nibabel.load(target)
    assert type(after) is type(before)
    assert (int(after.header["qform_code"]), int(after.header["sform_code"])) == codes
    factors = np.array([2, 2, 2 if through_plane else 1])
    assert after.shape == tuple(factors * before.shape)
    corners = np.array([(x, y, z) for x in (0, 12) for y in (0, 10) for z in (0, 6)], float)
    for name in ("get_qform", "get_sform"):
        one = nibabel.affines.apply_affine(getattr(before, name)(), corners - 0.5)
        other = nibabel.affines.apply_affine(getattr(after, name)(), corners * factors - 0.5)
        np.testing.assert_allclose(other, one, rtol=0, atol=2e-5)
    zooms = np.array(before.header.get_zooms()) / factors
    np.testing.assert_allclose(after.header.get_zooms(), zooms, rtol=1e-6)


def test_another_reader_sees_the_same_ground(tmp_path: Path) -> None:
    # That reader takes no sheared affine.
    source = stored(tmp_path / "a.nii.gz", volume(12, 10, 6), affine=np.diag([2, 2.5, 4, 1]))
    image = nibabel.load(source)
    image.set_sform(image.get_qform(), 1)
    nibabel.save(image, source)
    fakes.enlarge_file(source, tmp_path / "b.nii.gz", scale=3, model=fake_model(scale=3))
    before, after = (SimpleITK.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in "ab")
    for place in ((0, 0, 0), (12, 10, 5)):
        one = [v - 0.5 for v in place[:2]]
        other = [v * 3 - 0.5 for v in place[:2]]
        np.testing.assert_allclose(
            after.TransformContinuousIndexToPhysicalPoint((*other, place[2])),
            before.TransformContinuousIndexToPhysicalPoint((*one, place[2])),
            rtol=0,
            atol=1e-5,
        )


def test_all_else_of_the_header_stays(tmp_path: Path) -> None:
    fields = {
        "descrip": b"a text",
        "intent_name": b"name",
        "cal_max": 800,
        "aux_file": b"aux",
        "toffset": 3,
        "scl_slope": 0.5,
        "scl_inter": -7,
        "xyzt_units": 10,
        "dim_info": 57,
        "slice_code": 1,
        "slice_end": 4,
        "slice_duration": 0.1,
    }
    image = nibabel.Nifti1Image(volume(12, 10, 5, 3), AFFINE)
    comment, other = (nibabel.nifti1.Nifti1Extension(code, b"text") for code in ("comment", 4))
    image.header.extensions += [comment, other]
    image.header["pixdim"][4] = 1.5
    for name, value in fields.items():
        image.header[name] = value
    # As its own writer takes no scale, by which samples would be divided.
    path = tmp_path / "a.nii"
    image.header.set_data_offset(0)
    with path.open("wb") as file:
        image.header.write_to(file)
        file.write(b"\0" * (int(image.header["vox_offset"]) - file.tell()))
        file.write(np.asarray(image.dataobj).tobytes(order="F"))
    lost = fakes.enlarge_file(path, tmp_path / "b.nii")
    assert lost == ("AFNI's attributes",)
    before, after = nibabel.load(path), nibabel.load(tmp_path / "b.nii")
    assert (after.dataobj.slope, after.dataobj.inter) == (0.5, -7)
    for name in (*fields.keys() - {"scl_slope", "scl_inter"}, "datatype", "bitpix"):
        assert after.header[name] == before.header[name], name
    assert after.header["pixdim"][4] == 1.5
    assert [e.get_content() for e in after.header.extensions] == [b"text"]
    np.testing.assert_allclose(reduced(after.get_fdata(), 2, 2), before.get_fdata())
    # The number of a slice in time tells nothing any more where slices are more.
    lost = fakes.enlarge_file(path, tmp_path / "c.nii", through_plane=True)
    assert "times of slices" in lost
    assert nibabel.load(tmp_path / "c.nii").header["slice_code"] == 0


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
@pytest.mark.parametrize("through_plane", [False, True])
def test_labels_have_nothing_in_between(tmp_path: Path, dtype: str, through_plane: bool) -> None:
    classes = np.array([0, 1, 2, 17, 41, 77, 125, 99])
    samples = np.random.default_rng(5).choice(classes, (9, 8, 4)).astype(dtype)
    if np.dtype(dtype).itemsize == 4:
        samples[samples == 99] = 14_175
    source = stored(tmp_path / "a.nii.gz", samples)
    fakes.enlarge_file(source, tmp_path / "b.nii.gz", labels=True, through_plane=through_plane)
    expected = samples.repeat(2, 0).repeat(2, 1).repeat(2 if through_plane else 1, 2)
    np.testing.assert_array_equal(raw(tmp_path / "b.nii.gz"), expected)
    image = nibabel.load(source)
    image.header.set_intent("label")
    nibabel.save(image, source)
    fakes.enlarge_file(source, tmp_path / "c.nii.gz", through_plane=through_plane)
    np.testing.assert_array_equal(raw(tmp_path / "c.nii.gz"), expected)


@pytest.mark.parametrize("scale", [2, 3])
def test_between_slices_each_voxel_keeps_its_mean(tmp_path: Path, scale: int) -> None:
    one = volume(14, 10, 6)
    source = stored(tmp_path / "a.nii", np.stack([one, one[::-1]], axis=3))
    target = tmp_path / "b.nii"
    model = fake_model(scale=scale, halo=2)
    fakes.enlarge_file(source, target, through_plane=True, model=model, ripple=0.1)
    given, made = raw(source), raw(target)
    np.testing.assert_allclose(reduced(made, scale, scale, scale), given, rtol=0, atol=1e-9)
    # Slices differ from each other, and each volume is by itself.
    assert not (made[:, :, 0] == made[:, :, 1]).all()
    second = stored(tmp_path / "one.nii", given[..., 1])
    fakes.enlarge_file(second, tmp_path / "one2.nii", through_plane=True, model=model, ripple=0.1)
    # The percentiles that range over the network's are those of half as many samples.
    assert np.abs(raw(tmp_path / "one2.nii") - made[..., 1].astype(int)).max() <= 5


@pytest.mark.parametrize("through_plane", [False, True])
def test_progress_goes_from_nothing_to_all(tmp_path: Path, through_plane: bool) -> None:
    source = stored(tmp_path / "a.nii", volume(14, 10, 6, 2))
    told: list[float] = []
    opened = fakes.open_file(source, through_plane=through_plane)
    opened.write(tmp_path / "b.nii", progress=told.append)
    assert told == sorted(told)
    assert told[0] < 0.1
    assert told[-1] == pytest.approx(1)
    assert np.diff(told).max() < 0.2


def test_nan_stays_where_it_was_and_bleeds_nowhere(tmp_path: Path) -> None:
    samples = volume(20, 16, 3, dtype=np.float32)
    missing = np.zeros(samples.shape, bool)
    missing[5:9, 4:12] = True
    source = stored(tmp_path / "a.nii", np.where(missing, np.nan, samples).astype(np.float32))
    for options in ({}, {"through_plane": True}):
        fakes.enlarge_file(source, tmp_path / "b.nii", ripple=0.1, **options)
        made = raw(tmp_path / "b.nii")
        depth = 2 if options else 1
        large = missing.repeat(2, 0).repeat(2, 1).repeat(depth, 2)
        np.testing.assert_array_equal(np.isnan(made), large)
        np.testing.assert_allclose(
            reduced(made, 2, 2, depth)[~missing], samples[~missing], rtol=0, atol=1e-3
        )


def test_memory_does_not_grow_with_the_slices(tmp_path: Path) -> None:
    def peak(slices: int) -> int:
        source = stored(tmp_path / "a.nii.gz", np.zeros((160, 160, slices), np.int16))
        tracemalloc.start()
        # Of measurements, samples are kept to tell their range, up to a number of them.
        fakes.enlarge_file(source, tmp_path / "b.nii.gz", labels=True)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(160) < peak(4) + 2**20


def test_results_are_the_same_each_time(tmp_path: Path) -> None:
    source = stored(tmp_path / "a.nii.gz", volume(12, 10, 3))
    fakes.enlarge_file(source, tmp_path / "b.nii.gz")
    fakes.enlarge_file(source, tmp_path / "c.nii.gz")
    assert (tmp_path / "b.nii.gz").read_bytes() == (tmp_path / "c.nii.gz").read_bytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_orders_of_bytes_are_read(tmp_path: Path, order: str) -> None:
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(f"{order}i2"))
    image = nibabel.Nifti1Image(volume(12, 10, 3).astype(f"{order}i2"), AFFINE, header)
    nibabel.save(image, tmp_path / "a.nii")
    fakes.enlarge_file(tmp_path / "a.nii", tmp_path / "b.nii", ripple=0.1)
    np.testing.assert_array_equal(reduced(raw(tmp_path / "b.nii"), 2, 2), volume(12, 10, 3))


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.__setitem__("datatype", 32),
        lambda h: h.__setitem__("datatype", 128),
        lambda h: h.__setitem__("datatype", 1024),
        lambda h: h["dim"].__setitem__(slice(0, 6), [5, 12, 10, 1, 1, 3]),
        lambda h: h["dim"].__setitem__(1, -3),
        lambda h: h["dim"].__setitem__(0, 9),
        lambda h: h["dim"].__setitem__(3, 30000),
        lambda h: h.__setitem__("vox_offset", 1e12),
        lambda h: h.__setitem__("vox_offset", -4),
        lambda h: h.__setitem__("magic", b"ni1"),
        lambda h: h["pixdim"].__setitem__(0, 3),
        lambda h: h.__setitem__("quatern_b", 1e30),
    ],
)
def test_kinds_that_are_not_taken_are_refused_in_one_line(tmp_path: Path, change: Any) -> None:
    path = stored(tmp_path / "a.nii", volume(12, 10, 3))
    content = path.read_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    change(header)
    path.write_bytes(header.binaryblock + content[348:])
    with pytest.raises(InputError) as caught:
        fakes.enlarge_file(path, tmp_path / "b.nii")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii"]


def test_a_header_that_claims_much_takes_no_memory(tmp_path: Path) -> None:
    header = bytearray(stored(tmp_path / "a.nii", volume(12, 10, 3)).read_bytes()[:352])
    struct.pack_into("<8h", header, 40, 3, 12000, 12000, 1, 1, 1, 1, 1)
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(bytes(header)))
    tracemalloc.start()
    with pytest.raises(InputError, match="truncated"):
        fakes.enlarge_file(path, tmp_path / "c.nii.gz", scale=1)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    with pytest.raises(InputError, match="max_pixels"):
        fakes.enlarge_file(path, tmp_path / "c.nii.gz", max_pixels=2**20)


def test_other_files_of_gzip_are_no_volumes(tmp_path: Path) -> None:
    check_refused_in_one_line(tmp_path / "a.nii.gz", gzip.compress(b"no volume" * 99))
    check_refused_in_one_line(tmp_path / "a.nii.gz", b"\x1f\x8b no gzip")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_it_goes_through_pipes(tmp_path: Path, suffix: str, model_file: Path) -> None:
    source = stored(tmp_path / f"a{suffix}", volume(12, 10, 3))
    command = [sys.executable, "-m", "upres", "enlarge", "-", "--model", str(model_file)]
    done = subprocess.run(command, input=source.read_bytes(), capture_output=True)
    assert done.stderr == b""
    (tmp_path / "b.nii").write_bytes(done.stdout)
    np.testing.assert_array_equal(reduced(raw(tmp_path / "b.nii"), 2, 2), raw(source))


def test_it_becomes_nifti_only(tmp_path: Path) -> None:
    source = stored(tmp_path / "a.nii", volume(12, 10, 3))
    with pytest.raises(OutputError, match="NIFTI"):
        fakes.enlarge_file(source, tmp_path / "b.tif")


def test_a_plan_tells_what_is_kept_and_how_many_slices_there_will_be(tmp_path: Path) -> None:
    source = stored(tmp_path / "a.nii", volume(12, 10, 3))
    asked = Options(model=fake_model(), through_plane=True)
    (plan,) = open_file(source, asked, backend=FakeBackend()).plans
    assert (plan.preserves, plan.between, plan.frames) == ("mean", 2, 6)
    assert plan.pixels == 24 * 20 * 6
    flat = stored(tmp_path / "flat.nii", volume(12, 10))
    with pytest.raises(InputError, match="through_plane"):
        fakes.enlarge_file(flat, tmp_path / "c.nii", through_plane=True)
    assert fakes.enlarge_file(flat, tmp_path / "c.nii") == ()
    assert raw(tmp_path / "c.nii").shape == (24, 20)


@pytest.mark.parametrize("name", ["example4d.nii.gz", "someones_anatomy.nii.gz"])
def test_real_files_come_out_right(shared_data: Path, tmp_path: Path, name: str) -> None:
    source = shared_data / "inputs" / "medical" / name
    upres.enlarge_file(source, tmp_path / name, scale=2, model="fast", precision="fp32")
    before, after = nibabel.load(source), nibabel.load(tmp_path / name)
    np.testing.assert_array_equal(reduced(raw(tmp_path / name), 2, 2), raw(source))
    corners = np.array([[-0.5, -0.5, 0], [*(np.array(before.shape[:2]) - 0.5), 3]])
    large = corners * [2, 2, 1] + [0.5, 0.5, 0]
    for matrix in ("get_sform", "get_qform"):
        np.testing.assert_allclose(
            nibabel.affines.apply_affine(getattr(after, matrix)(), large),
            nibabel.affines.apply_affine(getattr(before, matrix)(), corners),
            rtol=0,
            atol=1e-4,
        )
    assert [e.get_content() for e in after.header.extensions] == [
        e.get_content() for e in before.header.extensions
    ]


@pytest.mark.parametrize("change", ["end", "checksum", "sample"])
def test_damage_that_only_a_checksum_tells_is_refused(tmp_path: Path, change: str) -> None:
    random = np.random.default_rng(3).integers(0, 99, (20, 20, 4)).astype(np.int16)
    source = stored(tmp_path / "a.nii.gz", random)
    content = bytearray(source.read_bytes())
    if change == "sample":
        plain = bytearray(gzip.decompress(content))
        plain[-100] ^= 16
        content[:-8] = gzip.compress(bytes(plain))[:-8]
    elif change == "checksum":
        content[-6] ^= 1
    check_refused_in_one_line(source, bytes(content[: -4 if change == "end" else None]))


@pytest.mark.parametrize("size", [-2.0, 0.0])
def test_sizes_that_should_not_be_are_read_as_others_do(tmp_path: Path, size: float) -> None:
    source = stored(tmp_path / "a.nii", volume(14, 10, 3))
    content = bytearray(source.read_bytes())
    struct.pack_into("<2h", content, 252, 1, 0)  # the place is told by the qform
    struct.pack_into("<f", content, 80, size)
    source.write_bytes(content)
    fakes.enlarge_file(source, tmp_path / "b.nii")
    before, after = nibabel.load(source).affine, nibabel.load(tmp_path / "b.nii").affine
    corner = [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(before @ corner, after @ corner, atol=1e-4)
    np.testing.assert_allclose(
        before @ [13.5, 9.5, 2.5, 1], after @ [27.5, 19.5, 2.5, 1], atol=1e-4
    )


def test_more_samples_than_its_kind_can_tell_are_refused(tmp_path: Path) -> None:
    samples = np.zeros((20_000, 2, 1), np.uint8)
    source = stored(tmp_path / "a.nii", samples)
    with pytest.raises(OutputError, match="32,767 a side"):
        fakes.enlarge_file(source, tmp_path / "b.nii")
    assert not (tmp_path / "b.nii").exists()
    fakes.enlarge_file(stored(source, samples, two=True), tmp_path / "b.nii")
    assert raw(tmp_path / "b.nii").shape == (40_000, 4, 1)


@pytest.mark.parametrize(("two", "kept"), [(False, 347), (True, 12), (True, 539)])
def test_a_header_that_ends_too_early_is_refused(tmp_path: Path, two: bool, kept: int) -> None:
    source = stored(tmp_path / "a.nii", volume(6, 5, 3), two=two)
    check_refused_in_one_line(source, source.read_bytes()[:kept])
