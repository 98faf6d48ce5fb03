"""DICOM files of one frame or several, judged by pydicom, dcmtk, dicom3tools and SimpleITK."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import dicoms
import numpy as np
import PIL.Image
import pytest
from contract import FileSourceTests
from dicoms import ct, faults, means, oblique, put, save, shown, waves
from numpy.typing import NDArray

import fakes
from fakes import fake_model
from upres.errors import InputError, OutputError
from upres.formats.registry import open_pages

pydicom = dicoms.pydicom

import SimpleITK  # noqa: E402
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.sequence import Sequence  # noqa: E402

Array = NDArray[Any]


def enlarged(source: Path, *, scale: int = 2, **options: Any) -> tuple[Any, list[str]]:
    """The result of a file beside it, and the names of the items that it does not keep."""
    target = source.with_name(f"{source.stem}_x{scale}.dcm")
    model = fake_model(scale=scale, halo=2)
    lost = fakes.enlarge_file(source, target, model=model, ripple=0.1, **options)
    return pydicom.dcmread(target), list(lost)


class TestSource(FileSourceTests):
    suffix = ".dcm"

    def stored(self, path: Path) -> Array:
        samples = np.stack([waves(40, 56, at=i) for i in range(3)])
        dataset = ct(samples, SOPClassUID=dicoms.SC, NumberOfFrames="3")
        save(dataset, path)
        return samples.astype(np.uint16)[..., None]


@pytest.mark.parametrize("scale", [2, 3])
def test_the_ground_stays_the_same_to_a_millionth_of_a_millimetre(
    tmp_path: Path, scale: int
) -> None:
    turned = [format(v, ".12g")[:16] for v in oblique()]
    source = save(ct(waves(), ImageOrientationPatient=turned), tmp_path / "a.dcm")
    result, _ = enlarged(source, scale=scale)
    assert (result.Rows, result.Columns) == (24 * scale, 28 * scale)
    before = SimpleITK.ReadImage(str(source))
    after = SimpleITK.ReadImage(str(tmp_path / f"a_x{scale}.dcm"))
    for x, y in ((0, 0), (28, 0), (0, 24), (28, 24)):
        one = before.TransformContinuousIndexToPhysicalPoint((x - 0.5, y - 0.5, 0))
        other = after.TransformContinuousIndexToPhysicalPoint((x * scale - 0.5, y * scale - 0.5, 0))
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-6)
    dumped = subprocess.run(
        [dicoms.tool("dcmdump"), "+L", str(tmp_path / f"a_x{scale}.dcm")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    numbers = [line.split("[")[1].split("]")[0] for line in dumped.splitlines() if " DS [" in line]
    assert len(numbers) > 5
    assert max(len(each) for line in numbers for each in line.split("\\")) <= 16


@pytest.mark.parametrize(("stored", "signed"), [(16, False), (16, True), (12, False), (12, True)])
@pytest.mark.parametrize("scale", [2, 3])
def test_each_sample_is_the_mean_of_its_result(
    tmp_path: Path, stored: int, signed: bool, scale: int
) -> None:
    low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
    samples = np.random.default_rng(1).integers(low, high, (24, 28), endpoint=True)
    samples[:6] = high  # flat at the limit
    dataset = ct(samples)
    put(dataset, samples, stored=stored, signed=signed)
    result, lost = enlarged(save(dataset, tmp_path / "a.dcm"), scale=scale)
    made = result.pixel_array
    assert lost == []
    np.testing.assert_array_equal(means(made, scale), samples)
    assert (made[: 6 * scale] == high).all()
    assert low <= made.min()
    assert made.max() <= high
    assert (result.BitsStored, result.HighBit, result.PixelRepresentation) == (
        stored,
        stored - 1,
        int(signed),
    )
    assert (made != samples.repeat(scale, 0).repeat(scale, 1)).any()


@pytest.mark.parametrize("size", [(7, 9), (1001, 1003)])  # in memory, and on disk
def test_an_odd_number_of_bytes_is_filled_up(tmp_path: Path, size: tuple[int, int]) -> None:
    samples = waves(*size, most=255)
    dataset = ct(samples)
    put(dataset, samples, stored=8)
    dataset.PixelData += b"\0"
    source = save(dataset, tmp_path / "a.dcm")
    result, _ = enlarged(source, scale=3)
    assert len(result.PixelData) == samples.size * 9 + 1
    np.testing.assert_array_equal(means(result.pixel_array, 3), samples)
    assert faults(tmp_path / "a_x3.dcm") <= faults(source)


def test_its_values_keep_their_meaning(tmp_path: Path) -> None:
    dataset = ct(waves())
    dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue = 1, 2
    result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    for name in ("RescaleIntercept", "RescaleSlope", "RescaleType", "WindowCenter", "WindowWidth"):
        assert result[name].value == dataset[name].value
    made = result.pixel_array
    assert result.SmallestImagePixelValue == made.min()
    assert result.LargestImagePixelValue == made.max()


def test_it_is_told_to_be_derived_and_not_for_diagnosis(tmp_path: Path) -> None:
    dataset = ct(waves(), SeriesDescription="Head, with a long text that leaves no room for more")
    result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    assert list(result.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert result.SeriesDescription.endswith("not for diagnosis")
    assert len(result.SeriesDescription) <= 64
    assert "not for diagnosis" in result.DerivationDescription
    assert "2 times" in result.DerivationDescription
    (source,) = result.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    assert source.ReferencedSOPClassUID == dataset.SOPClassUID
    for name in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert result[name].value != dataset[name].value
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "SOPClassUID"):
        assert result[name].value == dataset[name].value
    assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID
    again = tmp_path / "again.dcm"
    fakes.enlarge_file(tmp_path / "a.dcm", again, model=fake_model(scale=2, halo=2), ripple=0.1)
    assert again.read_bytes() == (tmp_path / "a_x2.dcm").read_bytes()
    other, _ = enlarged(tmp_path / "a.dcm", scale=3)
    for name in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert result[name].value != other[name].value


def multi_frame() -> Dataset:
    samples = np.stack([waves(at=i) for i in range(3)])
    return ct(
        samples,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.7.3",
        NumberOfFrames="3",
        Modality="OT",
        ConversionType="WSD",
        FrameIncrementPointer=0x00181063,
        FrameTime="40",
    )


def ultrasound() -> Dataset:
    dataset = ct(waves(most=255), SOPClassUID=dicoms.US, Modality="US", ImageType=["ORIGINAL"])
    put(dataset, waves(most=255), stored=8)
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 2, 3
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 20, 21
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.ReferencePixelX0, region.ReferencePixelY0 = 4, 5
    region.ReferencePixelPhysicalValueX, region.ReferencePixelPhysicalValueY = 0.0, 1.0
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.03
    dataset.SequenceOfUltrasoundRegions = Sequence([region])
    return dataset


@pytest.mark.parametrize("make", [lambda: ct(waves()), multi_frame, ultrasound])
def test_no_fault_is_added(tmp_path: Path, make: Any) -> None:
    source = save(make(), tmp_path / "a.dcm")
    enlarged(source)
    assert faults(tmp_path / "a_x2.dcm") <= faults(source)


def test_a_slice_of_tomography_has_no_fault(tmp_path: Path) -> None:
    source = save(ct(waves()), tmp_path / "a.dcm")
    enlarged(source)
    assert faults(source) == faults(tmp_path / "a_x2.dcm") == set()


def test_frames_are_enlarged_one_by_one(tmp_path: Path) -> None:
    dataset = multi_frame()
    result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    assert (result.NumberOfFrames, result.FrameTime) == (3, 40)
    for made, given in zip(result.pixel_array, dataset.pixel_array, strict=True):
        np.testing.assert_array_equal(means(made, 2), given)


def test_regions_of_ultrasound_stay_where_they_were(tmp_path: Path) -> None:
    result, lost = enlarged(save(ultrasound(), tmp_path / "a.dcm"), scale=2)
    assert lost == []
    (region,) = result.SequenceOfUltrasoundRegions
    assert (region.RegionLocationMinX0, region.RegionLocationMaxX1) == (4, 41)
    assert (region.RegionLocationMinY0, region.RegionLocationMaxY1) == (6, 43)
    assert region.PhysicalDeltaX == 0.01
    for axis, at, value, delta in (("X", 4, 0.0, 0.02), ("Y", 5, 1.0, 0.03)):
        # The place of a sample's centre, from the left of the first.
        old = value - (at + 0.5) * delta
        new = region[f"ReferencePixelPhysicalValue{axis}"].value
        new -= (region[f"ReferencePixel{axis}0"].value + 0.5) * delta / 2
        assert new == pytest.approx(old)


def test_shutters_stay_where_they_were(tmp_path: Path) -> None:
    dataset = ct(waves(), ShutterShape=["RECTANGULAR", "CIRCULAR"])
    dataset.ShutterLeftVerticalEdge, dataset.ShutterRightVerticalEdge = "3", "20"
    dataset.ShutterUpperHorizontalEdge, dataset.ShutterLowerHorizontalEdge = "1", "24"
    dataset.CenterOfCircularShutter, dataset.RadiusOfCircularShutter = ["12", "14"], "7"
    result, _ = enlarged(save(dataset, tmp_path / "a.dcm"), scale=3)
    assert (result.ShutterLeftVerticalEdge, result.ShutterRightVerticalEdge) == (7, 60)
    assert (result.ShutterUpperHorizontalEdge, result.ShutterLowerHorizontalEdge) == (1, 72)
    assert list(result.CenterOfCircularShutter) == [35, 41]
    assert result.RadiusOfCircularShutter == 21


def test_overlays_are_enlarged_with_the_picture(tmp_path: Path) -> None:
    dataset = ct(waves())
    drawn = np.random.default_rng(2).integers(0, 2, (11, 13))
    bits = np.packbits(drawn.astype(np.uint8).ravel(), bitorder="little").tobytes()
    for element, kind, value in (
        (0x0010, "US", 11),
        (0x0011, "US", 13),
        (0x0040, "CS", "R"),
        (0x0050, "SS", [3, 5]),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x1301, "IS", "9"),
        (0x3000, "OW", bits + b"\0" * (len(bits) % 2)),
    ):
        dataset.add_new((0x6000, element), kind, value)
    source = save(dataset, tmp_path / "a.dcm")
    result, _ = enlarged(source)
    np.testing.assert_array_equal(result.overlay_array(0x6000), drawn.repeat(2, 0).repeat(2, 1))
    assert list(result[0x6000, 0x0050].value) == [5, 9]
    assert result[0x6000, 0x1301].value == 36
    assert faults(tmp_path / "a_x2.dcm") <= faults(source)


def test_items_that_would_be_wrong_are_left_out_and_named(tmp_path: Path) -> None:
    dataset = ct(waves())
    icon = Dataset()
    put(icon, waves(8, 8, most=255), stored=8)
    dataset.IconImageSequence = Sequence([icon])
    dataset.HistogramSequence = Sequence([Dataset()])
    block = dataset.private_block(0x0029, "MAKER", create=True)
    block.add_new(1, "DS", "12")
    result, lost = enlarged(save(dataset, tmp_path / "a.dcm"))
    assert lost == ["icons", "histograms", "private elements"]
    assert "IconImageSequence" not in result
    assert "HistogramSequence" not in result
    assert not [tag for tag in list(result.keys()) if tag.is_private]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_it_looks_like_its_input(tmp_path: Path, photometric: str) -> None:
    dataset = ct(waves(), PhotometricInterpretation=photometric)
    source = save(dataset, tmp_path / "a.dcm")
    result, _ = enlarged(source)
    assert result.PhotometricInterpretation == photometric
    before, after = shown(source, tmp_path), shown(tmp_path / "a_x2.dcm", tmp_path)
    assert abs(means(after, 2) - before).mean() < 6  # their ranges differ a little
    dark = waves() < 600 if photometric == "MONOCHROME2" else waves() > 1500
    assert after[dark.repeat(2, 0).repeat(2, 1)].max() < 100


@pytest.mark.parametrize("padding", [-2000, -32768, 5])
def test_padding_is_put_back_and_tells_nothing(tmp_path: Path, padding: int) -> None:
    samples = waves() - 900
    samples[samples == padding] += 1
    outside = np.hypot(*(np.mgrid[:24, :28] - 13)) > 11

    def made(value: int) -> Array:
        given = np.where(outside, value, samples)
        dataset = ct(given)
        put(dataset, given, signed=True)
        dataset.add_new("PixelPaddingValue", "SS", value)
        result, _ = enlarged(save(dataset, tmp_path / f"{value}.dcm"))
        assert result["PixelPaddingValue"].value == value
        return np.asarray(result.pixel_array)

    one, other = made(padding), made(30000)
    large = outside.repeat(2, 0).repeat(2, 1)
    assert (one[large] == padding).all()
    assert (other[large] == 30000).all()
    assert (one[~large] != padding).all()
    # A sample that would be padding is moved by one.
    np.testing.assert_allclose(one[~large], other[~large], rtol=0, atol=int(padding == 5))
    np.testing.assert_allclose(means(one, 2)[~outside], samples[~outside], rtol=0, atol=0.5)


def test_a_range_of_padding_becomes_its_value(tmp_path: Path) -> None:
    samples = waves() + 100
    samples[:, :5], samples[:, 5:9] = 3, 10
    dataset = ct(samples)
    dataset.add_new("PixelPaddingValue", "US", 3)
    dataset.add_new("PixelPaddingRangeLimit", "US", 20)
    result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    made = result.pixel_array
    assert (made[:, :18] == 3).all()
    assert made[:, 18:].min() > 20


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    numbers = waves(most=15)
    dataset = ct(numbers, SOPClassUID=dicoms.SC, Modality="OT", ConversionType="WSD")
    put(dataset, numbers, stored=8)
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    colours = np.random.default_rng(3).integers(0, 256, (16, 3))
    for number, name in enumerate(("Red", "Green", "Blue")):
        entries = (colours[:, number] * 257).astype("<u2").tobytes()
        dataset.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [16, 0, 16])
        dataset.add_new(f"{name}PaletteColorLookupTableData", "OW", entries)
    result, lost = enlarged(save(dataset, tmp_path / "a.dcm"))
    assert lost == ["palette"]
    assert result.PhotometricInterpretation == "RGB"
    assert "RedPaletteColorLookupTableData" not in result
    np.testing.assert_array_equal(means(result.pixel_array, 2), colours[numbers])
    assert faults(tmp_path / "a_x2.dcm") <= faults(tmp_path / "a.dcm")


def coloured(samples: Array, photometric: str) -> Dataset:
    dataset = ct(samples[..., 0], SOPClassUID=dicoms.SC, Modality="OT", ConversionType="WSD")
    put(dataset, samples[..., 0], stored=8)
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = photometric
    dataset.PixelData = samples.astype(np.uint8).tobytes()
    return dataset


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colours_become_rgb(tmp_path: Path, photometric: str) -> None:
    samples = np.stack([waves(at=i, most=255) for i in range(3)], axis=-1)
    source = save(coloured(samples, photometric), tmp_path / "a.dcm")
    result, _ = enlarged(source)
    assert (result.PhotometricInterpretation, result.SamplesPerPixel) == ("RGB", 3)
    mode = "RGB" if photometric == "RGB" else "YCbCr"
    expected = PIL.Image.frombytes(mode, (28, 24), samples.astype(np.uint8).tobytes())
    made = means(result.pixel_array, 2)
    np.testing.assert_allclose(made, np.asarray(expected.convert("RGB")), rtol=0, atol=1.01)
    assert (made == means(shown(tmp_path / "a_x2.dcm", tmp_path), 2)).all()


@pytest.mark.parametrize(
    "syntax",
    ["RLELossless", "JPEGLSLossless", "JPEG2000Lossless"],
)
def test_compressed_files_give_the_same_samples(tmp_path: Path, syntax: str) -> None:
    save(ct(waves(64, 72)), tmp_path / "plain.dcm")
    packed = pydicom.dcmread(tmp_path / "plain.dcm")
    packed.compress(getattr(pydicom.uid, syntax), generate_instance_uid=False)
    save(packed, tmp_path / "packed.dcm")
    plain, _ = enlarged(tmp_path / "plain.dcm")
    result, _ = enlarged(tmp_path / "packed.dcm")
    assert result.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    np.testing.assert_array_equal(result.pixel_array, plain.pixel_array)
    assert "LossyImageCompression" not in result


@pytest.mark.parametrize("option", [["dcmcjpeg", "+e1"], ["dcmcjpls", "+el"], ["dcmcrle"]])
@pytest.mark.parametrize("signed", [False, True])
def test_files_that_others_have_compressed_give_the_same_samples(
    tmp_path: Path, option: list[str], signed: bool
) -> None:
    samples = waves(most=4095) - 2000 * signed
    dataset = ct(samples)
    put(dataset, samples, signed=signed, stored=13 if signed else 12)
    source, packed = save(dataset, tmp_path / "plain.dcm"), tmp_path / "packed.dcm"
    command = [dicoms.tool(option[0]), *option[1:], str(source), str(packed)]
    subprocess.run(command, check=True, capture_output=True)
    assert pydicom.dcmread(packed).file_meta.TransferSyntaxUID.is_compressed
    result, _ = enlarged(packed)
    np.testing.assert_array_equal(means(result.pixel_array, 2), samples)


@pytest.mark.parametrize("syntax", ["JPEGLSLossless", "JPEG2000Lossless", "JPEGBaseline8Bit"])
def test_a_frame_that_claims_more_pixels_is_not_decoded(tmp_path: Path, syntax: str) -> None:
    dataset = ct(waves(64, 72, most=255))
    put(dataset, waves(64, 72, most=255), stored=8)
    if syntax == "JPEGBaseline8Bit":
        stream = io.BytesIO()
        PIL.Image.fromarray(waves(64, 72, most=255).astype(np.uint8)).save(stream, "JPEG")
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    else:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.compress(getattr(pydicom.uid, syntax), generate_instance_uid=False)
    source = save(dataset, tmp_path / "a.dcm")
    enlarged(source)
    content = source.read_bytes()
    kind, size = ("I", (72, 64)) if "2000" in syntax else ("H", (64, 72))
    claimed = (60000, 50000)
    old, new = (b"".join(n.to_bytes(4 if kind == "I" else 2) for n in s) for s in (size, claimed))
    assert content.count(old) >= 1
    source.write_bytes(content.replace(old, new))
    with pytest.raises(InputError, match=r"says that it has \d{5}x\d{5} pixels"):
        enlarged(source)


def test_a_lossy_one_is_told_to_have_been_so(tmp_path: Path) -> None:
    dataset = ct(waves(most=255))
    put(dataset, waves(most=255), stored=8)
    stream = io.BytesIO()
    PIL.Image.fromarray(waves(most=255).astype(np.uint8)).save(stream, "JPEG", quality=95)
    dataset.PixelData = encapsulate([stream.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    assert result.LossyImageCompression == "01"
    np.testing.assert_allclose(means(result.pixel_array, 2), waves(most=255), atol=12)


@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_without_preamble_is_read(tmp_path: Path, implicit: bool) -> None:
    dataset = ct(waves())
    path = tmp_path / "bare"
    dataset.save_as(path, implicit_vr=implicit, little_endian=True)
    assert path.read_bytes()[:2] == b"\x08\0"
    target = tmp_path / "a.dcm"
    fakes.enlarge_file(path, target, ripple=0.1)
    np.testing.assert_array_equal(means(pydicom.dcmread(target).pixel_array, 2), waves())
    assert faults(target) == set()


def test_a_preamble_may_be_that_of_tiff(tmp_path: Path) -> None:
    source = save(ct(waves()), tmp_path / "a.dcm")
    source.write_bytes(b"II*\0\x08\0\0\0" + source.read_bytes()[8:])
    result, _ = enlarged(source)
    assert result.Rows == 48


def enhanced(shared: bool) -> Dataset:
    samples = np.stack([waves(at=i) for i in range(3)])
    dataset = ct(samples, SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", NumberOfFrames="3")
    del dataset.PixelSpacing, dataset.ImagePositionPatient, dataset.ImageOrientationPatient

    def group(name: str, **values: Any) -> Dataset:
        inner, item = Dataset(), Dataset()
        for key, value in values.items():
            setattr(inner, key, value)
        setattr(item, name, Sequence([inner]))
        return item

    common = group("PixelMeasuresSequence", PixelSpacing=["0.7", "0.6"], SliceThickness="2")
    turned = group("PlaneOrientationSequence", ImageOrientationPatient=list(dicoms.AXIAL))
    frames = []
    for number in range(3):
        frame = group("PlanePositionSequence", ImagePositionPatient=[1.0, 2.0, 2.0 * number])
        frame.update(group("MRImageFrameTypeSequence", FrameType=["ORIGINAL", "PRIMARY", "M"]))
        frame.update(Dataset() if shared else turned)
        frames.append(frame)
    common.update(turned if shared else Dataset())
    dataset.SharedFunctionalGroupsSequence = Sequence([common])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return dataset


@pytest.mark.parametrize("shared", [True, False])
def test_the_place_of_each_frame_is_told_in_its_groups(tmp_path: Path, shared: bool) -> None:
    source = save(enhanced(shared), tmp_path / "a.dcm")
    result, _ = enlarged(source)
    (common,) = result.SharedFunctionalGroupsSequence
    (measures,) = common.PixelMeasuresSequence
    assert list(measures.PixelSpacing) == [0.35, 0.3]
    assert measures.SliceThickness == 2
    for number, frame in enumerate(result.PerFrameFunctionalGroupsSequence):
        (place,) = frame.PlanePositionSequence
        expected = [1 - 0.6 / 4, 2 - 0.7 / 4, 2 * number]
        np.testing.assert_allclose([float(v) for v in place.ImagePositionPatient], expected)
        (kind,) = frame.MRImageFrameTypeSequence
        assert list(kind.FrameType) == ["DERIVED", "PRIMARY", "M"]
    assert faults(tmp_path / "a_x2.dcm") <= faults(source)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "32 bits"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "segmentation"),
        ({"TotalPixelMatrixColumns": 9}, "slide"),
        ({"PhotometricInterpretation": "HSV"}, "HSV"),
        ({"HighBit": 14}, "15 bits|16 bits"),
        ({"BitsStored": 10, "HighBit": 9}, "beyond"),
        ({"Rows": 0}, "0 pixels"),
        ({"NumberOfFrames": "4"}, "truncated"),
        ({"PixelSpacing": ["0", "1"]}, "PixelSpacing"),
    ],
)
def test_kinds_that_would_come_out_wrong_are_refused_in_one_line(
    tmp_path: Path, change: dict[str, Any], word: str
) -> None:
    source = save(ct(waves(), **change), tmp_path / "a.dcm")
    with pytest.raises(InputError, match=word) as caught:
        enlarged(source)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.dcm"]


def test_damage_ends_in_one_line(tmp_path: Path) -> None:
    whole = save(ultrasound(), tmp_path / "whole.dcm").read_bytes()
    random = np.random.default_rng(4)
    told = []
    for number in range(150):
        content = bytearray(whole)
        for place in random.integers(128, len(content), 1 + number % 7):
            content[place] = random.integers(256)
        path = tmp_path / "a.dcm"
        path.write_bytes(content[: random.integers(1000, len(content) + 1)])
        try:
            fakes.enlarge_file(path, tmp_path / "b.dcm")
        except (InputError, OutputError) as error:
            told.append(str(error))
    assert len(told) > 100
    assert all(str(tmp_path) in text and "\n" not in text for text in told)


def test_its_check_is_of_the_means_that_it_keeps(tmp_path: Path) -> None:
    source = save(ct(waves()), tmp_path / "a.dcm")
    told = []
    for consistent in (None, False):
        opened = fakes.open_file(source, ripple=0.1, check=True, consistent=consistent)
        written = opened.write(tmp_path / "b.dcm")
        assert written.agreement is not None
        told.append(written.agreement.decibels)
    assert told[0] > 110 > 60 > told[1]


def test_a_factor_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    source = save(ct(waves()), tmp_path / "a.dcm")
    with pytest.raises(InputError, match="whole number"):
        fakes.enlarge_file(source, tmp_path / "b.dcm", scale=1.5)
    for options in ({"scale": 1.5}, {"width": 14, "larger": "reduce"}, {"width": 57}):
        with pytest.raises(OutputError, match="whole factors"):
            fakes.enlarge_file(source, tmp_path / "b.dcm", consistent=False, **options)


def test_it_becomes_dicom_and_is_made_of_dicom_only(tmp_path: Path) -> None:
    source = save(ct(waves()), tmp_path / "a.dcm")
    with pytest.raises(OutputError, match="DICOM"):
        fakes.enlarge_file(source, tmp_path / "b.tif")
    PIL.Image.new("L", (9, 9)).save(tmp_path / "grey.png")
    with pytest.raises(OutputError, match="DICOM"):
        fakes.enlarge_file(tmp_path / "grey.png", tmp_path / "b.dcm")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dcm", "grey.png"]


REAL = ("693_UNCR.dcm", "CT_small.dcm", "MR_small.dcm", "OT-PAL-8-face.dcm", "examples_jpeg2k.dcm")


@pytest.mark.parametrize("name", REAL)
def test_real_files_come_out_right(shared_data: Path, tmp_path: Path, name: str) -> None:
    source, target = shared_data / "inputs" / "medical" / name, tmp_path / name
    fakes.enlarge_file(source, target, ripple=0.1)
    assert faults(target) <= faults(source)
    (given,) = open_pages(source)
    (frame,) = [np.concatenate(list(rows)) for rows in given.frames(tmp_path / "x")]
    made = pydicom.dcmread(target).pixel_array
    np.testing.assert_array_equal(means(made, 2), frame.squeeze())
    header = pydicom.dcmread(source, stop_before_pixels=True, force=True)
    if "PixelPaddingValue" in header:
        large = (frame[..., 0] == header.PixelPaddingValue).repeat(2, 0).repeat(2, 1)
        assert (made[large] == header.PixelPaddingValue).all()
        assert (made[~large] != header.PixelPaddingValue).all()


@pytest.mark.parametrize("above", ["sign", "nothing"])
def test_signed_samples_may_have_anything_above_their_bits(tmp_path: Path, above: str) -> None:
    samples = waves(most=4000) - 2000
    dataset = ct(samples)
    put(dataset, samples if above == "sign" else samples & 0xFFF, stored=12, signed=True)
    result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    assert (means(result.pixel_array, 2) == samples).all()


def test_means_are_kept_beside_the_value_of_padding(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    samples = random.integers(-4, 5, (40, 44))
    samples[:8] = -2
    dataset = ct(samples)
    put(dataset, samples, signed=True)
    dataset.add_new("PixelPaddingValue", "SS", -2)
    result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    large = result.pixel_array
    assert (means(large, 2) == samples).all()
    assert ((large == -2) == np.kron(samples == -2, np.ones((2, 2), bool))).all()


def test_detectors_and_receptors_stay_where_they_were(tmp_path: Path) -> None:
    detector = Dataset()
    detector.ImagePositionPatient = [-10.5, 20.25, 30.125]
    detector.ImageOrientationPatient = list(dicoms.AXIAL)
    nuclear = ct(waves(), SOPClassUID="1.2.840.10008.5.1.4.1.1.20", NumberOfFrames="1")
    del nuclear.ImagePositionPatient, nuclear.ImageOrientationPatient
    nuclear.DetectorInformationSequence = Sequence([detector])
    result, _ = enlarged(save(nuclear, tmp_path / "nm.dcm"))
    (moved,) = result.DetectorInformationSequence
    place = [-10.5 - 0.6 / 4, 20.25 - 0.7 / 4, 30.125]
    np.testing.assert_allclose([float(v) for v in moved.ImagePositionPatient], place)
    assert result.ImageType[1] == "PRIMARY"
    # In the middle of the beam, which stays there: y goes up.
    portal = ct(waves(), SOPClassUID="1.2.840.10008.5.1.4.1.1.481.1")
    portal.ImagePlanePixelSpacing = ["0.4", "0.4"]
    portal.RTImagePosition = ["-5.4", "4.6"]
    result, _ = enlarged(save(portal, tmp_path / "rt.dcm"))
    assert list(result.ImagePlanePixelSpacing) == [0.2, 0.2]
    middle = [-55 * 0.2 / 2, 47 * 0.2 / 2]
    np.testing.assert_allclose([float(v) for v in result.RTImagePosition], middle)


def test_frames_of_a_volume_of_ultrasound_stay_where_they_were(tmp_path: Path) -> None:
    dataset = enhanced(shared=True)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6.2"
    (common,) = dataset.SharedFunctionalGroupsSequence
    turned = Dataset()
    turned.ImageOrientationVolume = list(dicoms.AXIAL)
    del common.PlaneOrientationSequence
    common.PlaneOrientationVolumeSequence = Sequence([turned])
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        place = Dataset()
        place.ImagePositionVolume = [1.0, 2.0, 3.0 * number]
        del frame.PlanePositionSequence
        frame.PlanePositionVolumeSequence = Sequence([place])
    result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    for number, frame in enumerate(result.PerFrameFunctionalGroupsSequence):
        (place,) = frame.PlanePositionVolumeSequence
        np.testing.assert_allclose(place.ImagePositionVolume, [0.85, 1.825, 3 * number])


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("ISO_IR 13", "ABC ﾔﾏﾀﾞ".encode("shift_jis")),
        ("ISO_IR 192", b"bad \xff"),
        ("ISO_IR 100", "Müller".encode("latin-1")),
    ],
)
def test_texts_stay_the_bytes_that_they_are(
    tmp_path: Path, charset: str, text: bytes, implicit: bool
) -> None:
    text += b" " * (len(text) % 2)
    mark = "@" * len(text)
    dataset = ct(waves(), SpecificCharacterSet=charset, PatientName=mark, SeriesDescription=mark)
    inner = Dataset()
    inner.CodeMeaning = mark
    dataset.ProcedureCodeSequence = Sequence([inner])
    if implicit:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    source = save(dataset, tmp_path / "a.dcm")
    source.write_bytes(source.read_bytes().replace(mark.encode(), text))
    result, lost = enlarged(source)
    assert result.get_item("PatientName").value == text
    assert result.ProcedureCodeSequence[0].get_item("CodeMeaning").value == text
    described = result.get_item("SeriesDescription").value
    assert described.startswith(text[:3]) or "series' description" in lost
    assert described.rstrip().endswith(b"upres x2, not for diagnosis")


def test_what_a_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    wide = save(ct(np.zeros((2, 40_000), int)), tmp_path / "wide.dcm")
    with pytest.raises(OutputError, match="65,535 a side"):
        enlarged(wide)
    assert not list(tmp_path.glob("*_x2*"))


def test_a_file_without_identifiers_of_its_own(tmp_path: Path) -> None:
    dataset = ct(waves())
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    del dataset.SOPInstanceUID
    source = tmp_path / "a.dcm"
    pydicom.dcmwrite(source, dataset)
    result, _ = enlarged(source)
    assert result.SOPInstanceUID
    assert faults(tmp_path / "a_x2.dcm") <= faults(source)
    del dataset.SOPClassUID
    pydicom.dcmwrite(source, dataset)
    with pytest.raises(InputError, match="SOPClassUID"):
        enlarged(source)


def test_damaged_runs_end_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A decoder in Rust panics here, which is no ``Exception``, and prints where it did."""
    dataset = ct(waves(64, 64))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.compress(pydicom.uid.RLELossless)
    whole = save(dataset, tmp_path / "a.dcm").read_bytes()
    start = whole.index(b"\xe0\x7f\x10\x00")
    random = np.random.default_rng(6)
    told = []
    for _ in range(60):
        content = bytearray(whole)
        for place in random.integers(start + 84, len(content) - 8, 4):
            content[place] = random.integers(256)
        (tmp_path / "a.dcm").write_bytes(content)
        try:
            fakes.enlarge_file(tmp_path / "a.dcm", tmp_path / "b.dcm")
        except InputError as error:
            told.append(str(error))
    assert told
    assert not any("\n" in text for text in told)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("last", ["20", "128", "77.1.5.1"])
def test_kinds_that_are_always_primary_stay_so(tmp_path: Path, last: str) -> None:
    uid = f"1.2.840.10008.5.1.4.1.1.{last}"
    source = save(ct(waves(), SOPClassUID=uid, SeriesDescription=["a", "b"]), tmp_path / "a.dcm")
    result, _ = enlarged(source)
    assert faults(tmp_path / "a_x2.dcm") <= faults(source)
    assert result.SeriesDescription == "a b upres x2, not for diagnosis"
