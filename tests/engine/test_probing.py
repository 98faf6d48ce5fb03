from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import upres
from upres.engine.openvino import OpenVINO
from upres.engine.wrappers import compile_window
from upres.enlarging.windows import enlarge_windows
from upres.errors import ModelError
from upres.models import open_model
from upres.raster.info import RasterInfo, bands_of

Constants = dict[str, NDArray[np.generic]]


def blur(height: int, width: int, kind: type[np.floating] = np.float32) -> NDArray[np.floating]:
    """Weights of a convolution: the mean of that many pixels, of each channel by itself."""
    return np.broadcast_to(
        np.eye(3)[:, :, None, None] / (height * width), (3, 3, height, width)
    ).astype(kind)


def write(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: Constants,
    taken: int = TensorProto.FLOAT,
    given: int = TensorProto.FLOAT,
) -> Path:
    """A model file without a card, from ``x`` to ``y``."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", taken, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("y", given, [None] * 4)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def convolution(x: str, y: str, *, pads: list[int] | None = None) -> onnx.NodeProto:
    return helper.make_node("Conv", [x, "w"], [y], pads=pads or [1, 1, 1, 1])


def resized(x: str, y: str, *by: str) -> onnx.NodeProto:
    return helper.make_node(
        "Resize",
        [x, "", *by],
        [y],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def pooled(ceil: int = 0) -> onnx.NodeProto:
    side = [4, 4]
    return helper.make_node(
        "AveragePool", ["x"], ["p"], kernel_shape=side, strides=side, ceil_mode=ceil
    )


EIGHT: Constants = {"by": np.array([1, 1, 8, 8], np.float32)}

SHUFFLED = [
    helper.make_node("SpaceToDepth", ["x"], ["s"], blocksize=2),
    helper.make_node("Conv", ["s", "w"], ["c"], pads=[1, 1, 1, 1]),
    helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=4, mode="CRD"),
]


def shuffling() -> NDArray[np.float32]:
    """Weights that blur, and differ among the places in a block."""
    weights = np.random.default_rng(0).random((48, 12, 3, 3), np.float32)
    return weights / weights.sum(axis=(1, 2, 3), keepdims=True)


@pytest.mark.parametrize(
    ("nodes", "constants", "scale", "halo", "multiple"),
    [
        pytest.param([pooled(), resized("p", "y", "by")], EIGHT, 2, 0, 4, id="pooled"),
        pytest.param(SHUFFLED, {"w": shuffling()}, 2, 2, 2, id="shuffled"),
        # Takes any size, but has a grid.
        pytest.param(
            [
                pooled(ceil=1),
                helper.make_node("Shape", ["x"], ["size"]),
                resized("p", "u", "", "size"),
                convolution("u", "y"),
            ],
            {"w": blur(3, 3)},
            1,
            1,
            4,
            id="pooled, of any size",
        ),
        pytest.param(
            [convolution("x", "y", pads=[0, 0, 0, 8])],
            {"w": blur(1, 9)},
            1,
            8,
            1,
            id="to the right",
        ),
        pytest.param(
            [convolution("x", "y", pads=[0, 8, 0, 0])], {"w": blur(1, 9)}, 1, 8, 1, id="to the left"
        ),
        pytest.param(
            [convolution("x", "y", pads=[4, 0, 4, 0])], {"w": blur(9, 1)}, 1, 4, 1, id="up and down"
        ),
    ],
)
def test_how_far_a_model_sees_and_on_what_grid(
    nodes: list[onnx.NodeProto],
    constants: Constants,
    scale: int,
    halo: int,
    multiple: int,
    tmp_path: Path,
) -> None:
    model = open_model(write(tmp_path / "m.onnx", nodes, constants))
    card = model.card
    assert (card.scale, card.halo, card.multiple_of) == (scale, halo, multiple)
    assert card.value_range == (0, 1)
    # So windows show no seam.
    picture = np.random.default_rng(1).random((48, 64, 3), np.float32)
    by_itself = compile_window(OpenVINO(), model, 48, 64)(picture.transpose(2, 0, 1)[None])[0]
    info = RasterInfo(48, 64, bands_of(("red", "green", "blue")), np.dtype(np.float32))
    ((_, _, whole),) = enlarge_windows([picture], info, model, OpenVINO())
    border = 8 * scale  # within which results are held to the input
    inner = (slice(border, -border), slice(border, -border))
    expected = by_itself.transpose(1, 2, 0)[inner].clip(0, 1)
    np.testing.assert_allclose(whole[inner], expected, rtol=0, atol=2e-6)
    for top, left, block in enlarge_windows(
        [picture], info, model, OpenVINO(), window_pixels=30 * 30
    ):
        rows, columns, _ = block.shape
        assert (rows, columns) != whole.shape[:2]
        expected = whole[top : top + rows, left : left + columns]
        np.testing.assert_allclose(block, expected, rtol=0, atol=2e-6)


def test_what_looks_at_the_whole_picture_is_found_out(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Add", ["x", "mean"], ["sum"]),
        helper.make_node("Mul", ["sum", "half"], ["y"]),
    ]
    half: Constants = {"half": np.array(0.5, np.float32)}
    card = open_model(write(tmp_path / "m.onnx", nodes, half)).card
    assert (card.halo, card.multiple_of) == (None, 1)


@pytest.mark.parametrize(
    ("taken", "given"),
    [
        (TensorProto.FLOAT16, TensorProto.FLOAT16),
        (TensorProto.FLOAT, TensorProto.FLOAT16),
        (TensorProto.DOUBLE, TensorProto.FLOAT),
    ],
)
def test_pictures_go_in_and_out_in_any_floating_point(
    taken: int, given: int, tmp_path: Path
) -> None:
    inner = helper.tensor_dtype_to_np_dtype(taken).type
    nodes = [convolution("x", "c"), helper.make_node("Cast", ["c"], ["y"], to=given)]
    path = write(tmp_path / "m.onnx", nodes, {"w": blur(3, 3, inner)}, taken, given)
    card = open_model(path).card
    assert (card.scale, card.halo, card.multiple_of) == (1, 1, 1)
    picture = np.full((20, 20, 3), 100, np.uint8)
    assert (upres.enlarge(picture, model=path)[2:-2, 2:-2] == 100).all()


def test_models_of_whole_numbers_are_refused(tmp_path: Path) -> None:
    kind = TensorProto.UINT8
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        convolution("f", "c"),
        helper.make_node("Cast", ["c"], ["y"], to=kind),
    ]
    path = write(tmp_path / "m.onnx", nodes, {"w": blur(3, 3)}, kind, kind)
    with pytest.raises(ModelError, match=r"m.onnx: takes or gives values of type u8: export it"):
        open_model(path)


def scaled(before: float, after: float) -> tuple[list[onnx.NodeProto], Constants]:
    """Subtracts a mean of values from 0 to 255, between two factors, and adds it again."""
    nodes = [
        helper.make_node("Mul", ["x", "before"], ["b"]),
        helper.make_node("Sub", ["b", "mean"], ["s"]),
        helper.make_node("Relu", ["s"], ["r"]),
        helper.make_node("Add", ["r", "mean"], ["a"]),
        helper.make_node("Mul", ["a", "after"], ["y"]),
    ]
    values = {"before": before, "after": after, "mean": 10}
    return nodes, {name: np.array(value, np.float32) for name, value in values.items()}


def test_values_from_0_to_255_are_found_out_and_used(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", *scaled(1, 1))
    assert open_model(path).card.value_range == (0, 255)
    picture = np.random.default_rng(1).integers(20, 256, (20, 20, 3), np.uint8)
    np.testing.assert_array_equal(upres.enlarge(picture, model=path), picture)


@pytest.mark.parametrize(("before", "after"), [(255, 1), (1, 1 / 255), (1, -1)])
def test_what_takes_and_gives_different_values_is_refused(
    before: float, after: float, tmp_path: Path
) -> None:
    path = write(tmp_path / "m.onnx", *scaled(before, after))
    with pytest.raises(ModelError, match=r"not a super-resolution model: it changes how bright"):
        open_model(path)


def test_sizes_that_no_multiple_tells_are_refused(tmp_path: Path) -> None:
    side = [128, 128]
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=side, strides=side),
        resized("p", "y", "by"),
    ]
    by: Constants = {"by": np.array([1, 1, 128, 128], np.float32)}
    with pytest.raises(ModelError, match=r"m.onnx: takes pictures of some sizes only"):
        open_model(write(tmp_path / "m.onnx", nodes, by))
