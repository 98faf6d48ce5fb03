"""A video's colours, depth and light, by ffprobe and mediainfo; and patches of known colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fakes
from formats.video.clips import frames, made, need, run, stream
from upres.formats.video.colours import ColourTags, is_sd, matrix_of, tags_written

pytest.importorskip("av")

TAGS = ("color_range", "color_space", "color_transfer", "color_primaries", "chroma_location")


def tagged(folder: Path, name: str, *, pix_fmt: str, params: str, codec: str = "x265") -> Path:
    library = ("-c:v", f"lib{codec}", f"-{codec}-params")
    silent = "log-level=none:" if codec == "x265" else ""
    return made(folder / name, "-pix_fmt", pix_fmt, *library, silent + params)


PQ = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=limited"
MASTERING = (
    ":hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    "L(10000000,50):max-cll=1000,400"
)


@pytest.mark.parametrize(
    ("pix_fmt", "params"),
    [
        ("yuv420p", "colorprim=bt709:transfer=bt709:colormatrix=bt709:range=limited"),
        ("yuv420p", "colorprim=bt470bg:transfer=bt470bg:colormatrix=bt470bg:range=full"),
        ("yuv422p10le", "colorprim=bt709:transfer=bt709:colormatrix=bt709:range=limited"),
        ("yuv420p10le", PQ + ":chromaloc=2"),
        ("yuv420p10le", PQ.replace("smpte2084", "arib-std-b67")),
        ("yuv444p12le", PQ),
        ("yuv420p", "colormatrix=smpte170m"),
    ],
)
def test_tags_and_depth_are_kept(tmp_path: Path, pix_fmt: str, params: str) -> None:
    source = tagged(tmp_path, "in.mp4", pix_fmt=pix_fmt, params=params)
    target = tmp_path / "out.mp4"
    fakes.enlarge_file(source, target)
    before, after = stream(source), stream(target)
    assert {t: after.get(t) for t in TAGS} == {t: before.get(t) for t in TAGS}
    # Full range has a name of its own in FFmpeg, for the same samples.
    assert after["pix_fmt"].replace("yuvj", "yuv") == pix_fmt
    inform = "--Output=Video;%BitDepth% %colour_range% %matrix_coefficients%"
    assert run("mediainfo", inform, target) == run("mediainfo", inform, source)


@pytest.mark.parametrize("codec", ["x265", "av1"])
def test_hdr10_goes_to_the_encoder(tmp_path: Path, codec: str) -> None:
    import upres.formats.video.sink as sinks
    from upres.formats.video.settings import VideoSettings

    source = tagged(tmp_path, "in.mp4", pix_fmt="yuv420p10le", params=PQ + MASTERING)
    target = tmp_path / "out.mp4"
    opened = fakes.open_file(source)

    def sink(path: Path, **_: Any) -> sinks.VideoSink:
        return sinks.VideoSink(path, VideoSettings(codec=codec))  # type: ignore[arg-type]

    assert not opened.write(target, make_sink=sink).not_kept

    def light(path: Path) -> dict[str, Any]:
        kinds = {}
        for side in frames(path)[0]["side_data_list"]:
            kinds[side["side_data_type"]] = {
                key: eval(str(value)) for key, value in side.items() if key != "side_data_type"
            }
        return kinds

    old, new = light(source), light(target)
    for kind in ("Mastering display metadata", "Content light level metadata"):
        for key, value in old[kind].items():
            # AV1 counts in powers of two.
            assert new[kind][key] == pytest.approx(value, rel=2e-3, abs=2e-5), key


def test_a_codec_without_a_place_for_it_says_so(tmp_path: Path) -> None:
    from upres.formats.video.settings import VideoSettings
    from upres.formats.video.sink import VideoSink

    source = tagged(tmp_path, "in.mkv", pix_fmt="yuv420p10le", params=PQ + MASTERING)
    opened = fakes.open_file(source)
    lossless = VideoSettings(lossless=True)
    written = opened.write(
        tmp_path / "out.mkv", make_sink=lambda path, **_: VideoSink(path, lossless)
    )
    assert list(written.not_kept) == ["HDR10 mastering display and light levels"]
    assert stream(tmp_path / "out.mkv")["pix_fmt"] == "yuv420p10le"


def test_untagged_sd_that_becomes_hd_is_told_to_be_bt_601(tmp_path: Path) -> None:
    source = made(tmp_path / "in.mp4", pictures="testsrc2=s=640x272:r=25:d=0.1")
    target = tmp_path / "out.mp4"
    fakes.enlarge_file(source, target)
    assert "color_space" not in stream(source)
    assert stream(target)["color_space"] == "smpte170m"
    told = run("mediainfo", "--Output=Video;%matrix_coefficients% %colour_primaries%", target)
    assert told.strip() == "BT.601 BT.601 NTSC"
    small = made(tmp_path / "small.mp4")
    fakes.enlarge_file(small, tmp_path / "still.mp4")
    assert "color_space" not in stream(tmp_path / "still.mp4")


def test_players_guess_by_size() -> None:
    assert is_sd(576, 1024)
    assert not is_sd(720, 1280)
    assert not is_sd(480, 1280)
    assert matrix_of(ColourTags(), 480, 640) == 6
    assert matrix_of(ColourTags(), 720, 1280) == 1
    assert matrix_of(ColourTags(matrix=9), 480, 640) == 9
    pal = tags_written(ColourTags(), (576, 720), (1152, 1440))
    assert (pal.matrix, pal.primaries, pal.full) == (6, 5, False)
    assert tags_written(ColourTags(matrix=1), (576, 720), (1152, 1440)) == ColourTags(matrix=1)


def decoded(path: Path, pix_fmt: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The first frame's samples, as the codec gives them: FFmpeg converts nothing."""
    command = [need("ffmpeg"), "-v", "error", "-i", str(path), "-frames:v", "1"]
    command += ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-"]
    import subprocess

    content = subprocess.run(command, capture_output=True, check=True).stdout
    assert len(content) == size[0] * size[1] * 3 // 2 or pix_fmt != "yuv420p"
    return np.frombuffer(content, np.uint8)


@pytest.mark.parametrize("colour", ["red", "0x2040C0", "gray", "yellow", "white", "black"])
@pytest.mark.parametrize("matrix", ["bt709", "smpte170m"])
def test_a_patch_of_known_colour_stays_to_the_level(
    tmp_path: Path, colour: str, matrix: str
) -> None:
    from upres.formats.video.settings import VideoSettings
    from upres.formats.video.sink import VideoSink

    source = made(
        tmp_path / "in.mkv",
        *("-vf", f"scale=out_color_matrix={matrix}", "-colorspace", matrix),
        *("-pix_fmt", "yuv420p", "-c:v", "ffv1"),
        pictures=f"color={colour}:s=64x48:r=25:d=0.04",
    )
    lossless = VideoSettings(lossless=True)
    fakes.open_file(source).write(
        tmp_path / "out.mkv", make_sink=lambda path, **_: VideoSink(path, lossless)
    )
    small = decoded(source, "yuv420p", (64, 48))
    large = decoded(tmp_path / "out.mkv", "yuv420p", (128, 96))
    # The fake's network is darker at the frame's border.
    luma = large[: 128 * 96].reshape(96, 128)[8:-8, 8:-8]
    chroma = large[128 * 96 :].reshape(2, 48, 64)[:, 8:-8, 8:-8]
    # Levels beyond what red, green and blue hold are within one of these.
    assert np.abs(luma.astype(int) - int(small[0])).max() <= 1
    for plane, value in zip(chroma, small[64 * 48 :].reshape(2, -1)[:, 0], strict=True):
        assert np.abs(plane.astype(int) - int(value)).max() <= 1
    if colour in ("gray", "0x2040C0"):
        assert (luma == small[0]).all()


def test_interlaced_frames_are_made_whole_and_none_is_lost(tmp_path: Path) -> None:
    source = made(
        tmp_path / "in.mpg",
        *("-vf", "interlace", "-c:v", "mpeg2video", "-flags", "+ildct+ilme", "-b:v", "2M"),
        pictures="testsrc2=s=64x48:r=50:d=1",
    )
    assert all(frame["interlaced_frame"] for frame in frames(source))
    target = tmp_path / "out.mkv"
    fakes.enlarge_file(source, target)
    after = frames(target)
    assert len(after) == len(frames(source)) == 25
    assert not any(frame["interlaced_frame"] for frame in after)
    # As FFmpeg's own bwdif would have it, all frames flushed.
    count = run(
        *("ffmpeg", "-v", "error", "-i", source, "-vf", "bwdif=mode=send_frame"),
        *("-f", "framemd5", "-"),
    )
    assert len([line for line in count.splitlines() if not line.startswith("#")]) == 25


def test_what_is_brighter_than_white_is_told(tmp_path: Path) -> None:
    for name, level, expected in (
        ("bright.mkv", 250, ["samples brighter than white"]),
        ("dark.mkv", 2, ["samples darker than black"]),
        ("white.mkv", 235, []),
    ):
        source = made(
            tmp_path / name,
            *("-vf", f"geq=lum={level}:cb=128:cr=128", "-pix_fmt", "yuv420p", "-c:v", "ffv1"),
            pictures="color=gray:s=64x48:r=25:d=0.1",
        )
        assert list(fakes.enlarge_file(source, tmp_path / f"out-{name}")) == expected


def hdr10_plus() -> bytes:
    """An SEI message of H.265 with dynamic metadata (SMPTE ST 2094-40), as a unit of a stream."""
    fields = [(1, 2), (400, 27), (0, 1)]  # one window, the display's luminance, no peaks
    fields += [(17830, 17), (16895, 17), (14252, 17), (1037, 17), (0, 4), (0, 10)]
    fields += [(0, 1), (0, 1), (0, 1)]
    bits = "".join(format(value, f"0{width}b") for value, width in fields)
    bits += "0" * (-len(bits) % 8)
    body = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    message = bytes([0xB5, 0, 0x3C, 0, 1, 4, 1]) + body
    unit = bytearray(b"\x4e\x01" + bytes([4, len(message)]) + message + b"\x80")
    for at in range(len(unit) - 3, -1, -1):  # no three bytes may look like a unit's beginning
        if unit[at : at + 2] == b"\0\0" and unit[at + 2] <= 3:
            unit[at + 2 : at + 2] = b"\x03"
    return b"\0\0\0\1" + bytes(unit)


def test_light_that_changes_from_frame_to_frame_is_told(tmp_path: Path) -> None:
    plain = tagged(tmp_path, "plain.mp4", pix_fmt="yuv420p10le", params=PQ)
    raw = tmp_path / "raw.hevc"
    run("ffmpeg", "-v", "error", "-i", plain, "-c", "copy", "-f", "hevc", raw)
    content = raw.read_bytes()
    # Before the first slice, which is of a frame that stands alone (types 16 to 21).
    at = next(
        i
        for i in range(len(content))
        if content[i : i + 3] == b"\0\0\1" and 16 <= content[i + 3] >> 1 <= 21
    )
    raw.write_bytes(content[:at] + hdr10_plus()[1:] + content[at:])
    source = tmp_path / "in.mkv"
    run("mkvmerge", "-o", source, "--default-duration", "0:25fps", raw)
    kinds = [side["side_data_type"] for side in frames(source)[0]["side_data_list"]]
    assert any("HDR Dynamic Metadata" in kind for kind in kinds)
    assert list(fakes.enlarge_file(source, tmp_path / "out.mkv")) == ["HDR10+"]
