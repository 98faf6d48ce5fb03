"""The command ``upres fuse`` as a user runs it, by the model ``fast``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import pyvips
import tifffile

from running import upres
from scenes import SHIFTS, as_bytes, frames_of, scene, truth
from upres.raster.metrics import psnr


@pytest.fixture(scope="module")
def burst(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four PNG files; the second tells a resolution, a profile and a text."""
    folder = tmp_path_factory.mktemp("burst")
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    for number, frame in enumerate(frames_of(scene(), SHIFTS[:4]), start=1):
        more = {"dpi": (300, 300), "icc_profile": profile} if number == 2 else {}
        PIL.Image.fromarray(as_bytes(frame)).save(folder / f"{number}.png", **more)
    return folder


def read(path: Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path))


def test_a_folder_becomes_one_picture(burst: Path, tmp_path: Path) -> None:
    done = upres("fuse", burst, "-s", 2, "-o", "better.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "wrote better.png (4 frames)\n"
    single = upres("enlarge", burst / "1.png", "-s", 2, "-o", "one.png", cwd=tmp_path)
    assert single.returncode == 0
    wanted = truth(scene())
    assert (
        psnr(read(tmp_path / "better.png"), wanted) > psnr(read(tmp_path / "one.png"), wanted) + 1
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["better.png", "one.png"]


def test_the_reference_gives_metadata_and_name(burst: Path) -> None:
    names = [burst / f"{n}.png" for n in (1, 2, 3)]
    done = upres("fuse", *names, "-s", 2, "--reference", names[1], cwd=burst)
    made = burst / "2_fused_x2.png"
    assert done.stderr == f"wrote {made} (3 frames)\n"
    with PIL.Image.open(made) as picture, PIL.Image.open(names[1]) as reference:
        assert picture.size == (144, 128)
        assert picture.info["dpi"] == pytest.approx(reference.info["dpi"], abs=0.1)
        assert picture.info["icc_profile"] == reference.info["icc_profile"]
    again = upres("fuse", *names, "-s", 2, "--reference", "2", cwd=burst)
    assert again.returncode == 1
    assert "exists already" in again.stderr
    before = made.read_bytes()
    assert upres("fuse", *names[::-1], "-s", 2, "--reference", 2, "-fq", cwd=burst).stderr == ""
    assert made.read_bytes() == before
    made.unlink()


def test_one_file_is_enlarged(burst: Path, tmp_path: Path) -> None:
    upres("enlarge", burst / "2.png", "-s", 2, "-o", "one.png", cwd=tmp_path)
    done = upres("fuse", burst / "2.png", "-s", 2, "-o", "fused.png", cwd=tmp_path)
    assert done.stderr == "wrote fused.png (one frame: as enlarged)\n"
    assert (tmp_path / "fused.png").read_bytes() == (tmp_path / "one.png").read_bytes()


def test_pages_of_16_bits_and_frames_of_an_animation(tmp_path: Path) -> None:
    frames = frames_of(scene(), SHIFTS[:4])
    deep = np.stack([np.rint(np.clip(f, 0, 255) * 257).astype(np.uint16) for f in frames])
    tifffile.imwrite(tmp_path / "stack.tif", deep, photometric="rgb")
    done = upres("fuse", "stack.tif", "-s", 2, "--reference", 3, cwd=tmp_path)
    assert done.stderr == "wrote stack_fused_x2.tif (4 frames)\n"
    made = tifffile.imread(tmp_path / "stack_fused_x2.tif")
    assert made.shape == (128, 144, 3)
    assert made.dtype == np.uint16
    wanted = scene()[20:148, 21:165]
    assert psnr(made / 257, wanted) > 25
    images = [PIL.Image.fromarray(as_bytes(f)) for f in frames]
    images[0].save(tmp_path / "clip.png", save_all=True, append_images=images[1:], duration=40)
    done = upres("fuse", "clip.png", "-s", 2, cwd=tmp_path)
    assert done.stderr == "wrote clip_fused_x2.png (4 frames)\n"
    made_clip = pyvips.Image.new_from_file(str(tmp_path / "clip_fused_x2.png"))
    assert (made_clip.width, made_clip.height) == (144, 128)
    with PIL.Image.open(tmp_path / "clip_fused_x2.png") as still:
        assert still.n_frames == 1


def test_others_are_left_out_by_name(burst: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    PIL.Image.fromarray(read(burst / "3.png")[:, ::-1]).save(tmp_path / "mirrored.png")
    names = [burst / "1.png", burst / "2.png", "broken.png", "mirrored.png", burst / "1.png"]
    done = upres("fuse", *names, "-s", 2, "-o", "made.png", cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("upres: broken.png: left out: ")
    assert lines[1].startswith("upres: mirrored.png: left out: it ")
    assert lines[-1] == "wrote made.png (2 frames)"


def test_a_picture_whose_damage_shows_late_is_left_out(burst: Path, tmp_path: Path) -> None:
    frame = PIL.Image.fromarray(read(burst / "3.png"))
    frame.save(tmp_path / "whole.jpg", quality=97, subsampling=0)
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    names = [burst / "1.png", "cut.jpg", burst / "2.png"]
    done = upres("fuse", *names, "-s", 2, "-o", "made.png", cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("upres: cut.jpg: left out: this picture is damaged or truncated")
    assert lines[1:] == ["wrote made.png (2 frames)"]
    done = upres("fuse", *names[1:], "-s", 2, "-o", "no.png", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("upres: cut.jpg: this picture is damaged or truncated")
    assert not (tmp_path / "no.png").exists()


def test_a_frame_with_highlights_cut_off_counts_elsewhere(tmp_path: Path) -> None:
    frames = frames_of(scene(), SHIFTS[:3])
    frames[1] = frames[1] * 1.9
    for number, each in enumerate(frames):
        PIL.Image.fromarray(as_bytes(each)).save(tmp_path / f"{number}.png")
    done = upres("fuse", tmp_path, "-s", 2, "-o", "made.png", cwd=tmp_path)
    assert done.stderr == "wrote made.png (3 frames)\n"


def test_a_result_is_no_frame_of_the_next_run(burst: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.png").write_bytes((burst / f"{number}.png").read_bytes())
    first = upres("fuse", ".", "-s", 2, cwd=tmp_path)
    assert first.stderr == "wrote 1_fused_x2.png (2 frames)\n"
    again = upres("fuse", ".", "-s", 2, cwd=tmp_path)
    assert again.stderr == "upres: 1_fused_x2.png: exists already: --force replaces it\n"
    before = (tmp_path / "1_fused_x2.png").read_bytes()
    forced = upres("fuse", ".", "-s", 2, "--force", cwd=tmp_path)
    assert forced.stderr == first.stderr
    assert (tmp_path / "1_fused_x2.png").read_bytes() == before


def test_slices_of_a_body_are_not_fused(burst: Path, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    frames = np.stack([frame[:, :, 1] for frame in frames_of(scene(), SHIFTS[:3])], 2)
    volume = nibabel.Nifti1Image(np.clip(frames, 0, 255).astype(np.uint8), np.eye(4))
    nibabel.save(volume, tmp_path / "volume.nii")
    done = upres("fuse", "volume.nii", "-s", 2, cwd=tmp_path)
    assert done.returncode == 1
    assert "volume.nii: a medical picture is not fused with others" in done.stderr
    assert done.stderr.count("\n") == 1
    done = upres("fuse", burst / "1.png", "volume.nii", "-s", 2, "-o", "made.png", cwd=tmp_path)
    assert "volume.nii (frame 1): left out: it is a medical picture" in done.stderr
    assert done.stderr.endswith("wrote made.png (one frame: as enlarged)\n")


def test_a_clip_is_a_burst(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 72, 64, "yuv444p"
        for each in frames_of(scene(), SHIFTS[:4]):
            for packet in stream.encode(av.VideoFrame.from_ndarray(as_bytes(each), "rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    done = upres("fuse", "clip.mkv", "-s", 2, cwd=tmp_path)
    assert done.stderr == "wrote clip_fused_x2.png (4 frames)\n"
    upres("enlarge", burst_frame(tmp_path), "-s", 2, "-o", "one.png", cwd=tmp_path)
    wanted = truth(scene())
    with PIL.Image.open(tmp_path / "clip_fused_x2.png") as made:
        assert made.size == (144, 128)
    fused = pyvips.Image.new_from_file(str(tmp_path / "clip_fused_x2.png")).numpy() / 257
    assert psnr(fused, wanted) > psnr(read(tmp_path / "one.png"), wanted) + 0.5


def burst_frame(folder: Path) -> Path:
    path = folder / "frame.png"
    PIL.Image.fromarray(as_bytes(frames_of(scene(), SHIFTS[:1])[0])).save(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "9"], "upres: --reference 9: there are 4 frames, counted from 1"),
        (["--reference", "x.png"], "upres: --reference x.png: is none of the pictures"),
        (["-o", "there/"], "one result needs a file's name"),
        (["-s", "1.5"], "upres: --scale must be 2, 3 or 4 to fuse pictures, not 1.5"),
        (["--max-pixels", "9"], "--max-pixels allows more"),
    ],
)
def test_mistakes_are_told_in_one_line(
    burst: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = upres("fuse", burst, *arguments, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_revisits_may_call_other_samples_missing(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    for name, number, nodata in (("a", 0, 0), ("b", 1, 0), ("c", 1, 65000)):
        frame = frames_of(scene(), SHIFTS[:2])[number]
        samples = np.rint(np.clip(frame, 0, 255) * 20 + 1).astype(np.uint16)
        samples[20:40, 30:50] = nodata if name != "a" else samples[20:40, 30:50]
        with rasterio.open(
            *(tmp_path / f"{name}.tif", "w"),
            driver="GTiff",
            nodata=nodata,
            crs="EPSG:32633",
            transform=rasterio.Affine(10, 0, 500000, 0, -10, 5000000 - 5 * number),
            **{"height": 64, "width": 72, "count": 3, "dtype": "uint16"},
        ) as file:
            file.write(np.moveaxis(samples, 2, 0))
    made = []
    for name in ("b", "c"):
        done = upres(
            "fuse", "a.tif", f"{name}.tif", "-s", 2, "-o", f"made_{name}.tif", cwd=tmp_path
        )
        assert done.stderr == f"wrote made_{name}.tif (2 frames)\n"
        with rasterio.open(tmp_path / f"made_{name}.tif") as file:
            assert file.nodata == 0
            made.append(file.read())
    np.testing.assert_array_equal(*made)


def test_revisits_keep_their_place_and_their_gaps(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    for number, frame in enumerate(frames_of(scene(), SHIFTS[:4])):
        samples = np.rint(np.clip(frame, 0, 255) * 20 + 1).astype(np.uint16)
        samples[:6, :8] = 0
        down, across = SHIFTS[number]
        own = rasterio.Affine(10, 0, 500000 + 5 * across, 0, -10, 5000000 - 5 * down)
        shape = {"height": 64, "width": 72, "count": 3, "dtype": "uint16"}
        with rasterio.open(
            *(tmp_path / f"{number}.tif", "w"),
            driver="GTiff",
            nodata=0,
            crs="EPSG:32633",
            transform=own,
            **shape,
        ) as file:
            file.write(np.moveaxis(samples, 2, 0))
    done = upres("fuse", *[f"{n}.tif" for n in range(4)], "-s", 2, cwd=tmp_path)
    assert done.stderr == "wrote 0_fused_x2.tif (4 frames)\n"
    with rasterio.open(tmp_path / "0_fused_x2.tif") as made:
        assert tuple(made.transform)[:6] == (5, 0, 500000, 0, -5, 5000000)
        assert made.nodata == 0
        assert made.crs.to_epsg() == 32633
        samples = np.moveaxis(made.read(), 0, 2)
    assert (samples[:12, :16] == 0).all()
    assert (samples[12:] > 0).all()
    wanted = truth(scene())
    upres("enlarge", "0.tif", "-s", 2, "-o", "one.tif", cwd=tmp_path)
    with rasterio.open(tmp_path / "one.tif") as made:
        single = np.moveaxis(made.read(), 0, 2)
    # Far from the gap, in levels of the scene.
    far = np.s_[40:]
    levels = [(each[far] - 1.0) / 20 for each in (samples, single)]
    assert psnr(levels[0], wanted[far]) > psnr(levels[1], wanted[far]) + 0.5
