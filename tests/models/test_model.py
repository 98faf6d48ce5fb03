from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import pyvips
from onnx import TensorProto, helper

from fakes import FakeBackend, fake_model, write_fake_model
from upres.card import CARD_KEY, FORMAT_VERSION, Model, ModelCard, SetScore, read_card
from upres.engine.protocol import Choice
from upres.enlarging.api import enlarge
from upres.errors import ModelError
from upres.models import (
    INT8,
    Precision,
    computed_in,
    open_at,
    open_model,
    read_model,
    scales_of,
    settle_modes,
    shipped_models,
)
from upres.training.networks import Plain

DEMO = Path(__file__).parents[2] / "demo" / "chelsea.png"

CARD = ModelCard(
    name="näme",
    scale=3,
    halo=16,
    network="plain",
    network_parameters={"features": 32, "blocks": 7},
    parameter_count=1234,
    scores=(SetScore("Set5", 5, 33.3, 0.91),),
)


def graph(
    output_channels: int = 3, *, kind: str = "Conv", side: int | str = "side"
) -> onnx.ModelProto:
    """A one-operation model: a 3x3 convolution, or a flattening of the picture."""
    weight = helper.make_tensor(
        "w", TensorProto.FLOAT, [output_channels, 3, 3, 3], np.ones(27 * output_channels) / 27
    )
    node = (
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
        if kind == "Conv"
        else helper.make_node("Flatten", ["x"], ["y"])
    )
    rank = 4 if kind == "Conv" else 2
    return helper.make_model(
        helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, side, side])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
            [weight] if kind == "Conv" else [],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )


def test_card_survives_its_json() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD


def test_card_of_a_later_version_with_new_keys_is_read() -> None:
    values = json.loads(CARD.to_json()) | {"invented_later": 1}
    assert ModelCard.from_json(json.dumps(values)) == CARD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "newer than"),
        ({"format_version": None}, "format_version"),
        ({"format_version": True}, "format_version"),
        ({"scale": "2"}, "scale must be a whole number from 1 to 8, not '2'"),
        ({"scale": 0}, "scale must be"),
        ({"scale": 9}, "scale must be"),
        ({"scale": True}, "scale must be"),
        ({"name": None}, "name must be text, not None"),
        ({"halo": -1}, "halo must be a whole number from 0, or null, not -1"),
        ({"halo": 2.5}, "halo must be"),
        ({"channels": 2}, "channels must be 1 for luma or 3 for RGB"),
        ({"multiple_of": 0}, "multiple_of must be a whole number from 1, not 0"),
        ({"multiple_of": None}, "multiple_of must be"),
        ({"value_range": None}, "value_range must be two numbers, the lower first, not None"),
        ({"value_range": [0]}, "value_range must be"),
        ({"value_range": [1, 0]}, "value_range must be"),
        ({"value_range": [0, float("inf")]}, "value_range must be"),
        ({"self_ensemble": "no"}, "self_ensemble must be true or false, not 'no'"),
        ({"network_parameters": None}, "network_parameters must be an object"),
        ({"network_parameters": {"features": 0}}, "its features a whole number from 1"),
        ({"network_parameters": {"features": "64"}}, "its features a whole number from 1"),
        ({"precision": 3}, "precision must be text"),
        ({"protocol": 5}, "protocol must be text or null"),
        ({"scores": None}, "scores must be a list"),
        ({"scores": [{"dataset": "Set5"}]}, "scores must be a list of dataset, images, psnr"),
    ],
)
def test_cards_that_cannot_be_read(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelCard.from_json(json.dumps(json.loads(CARD.to_json()) | change))


@pytest.mark.parametrize("key", ["name", "scale", "halo"])
def test_cards_that_lack_what_windows_need(key: str) -> None:
    values = json.loads(CARD.to_json())
    del values[key]
    with pytest.raises(ValueError, match=f"{key} is missing"):
        ModelCard.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"format_version": 1, "name": "a"}'])
def test_a_model_with_a_damaged_card_is_refused(
    text: str, model_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    proto = onnx.load(model_file)
    helper.set_model_props(proto, {CARD_KEY: text})
    onnx.save(proto, path)
    with pytest.raises(ModelError, match=r"m.onnx: its card cannot be read: "):
        read_model(path)


def test_model_file_gives_back_its_card(model_file: Path, random_network: Plain) -> None:
    card = read_model(model_file).card
    assert (card.name, card.scale, card.halo) == ("random", 2, random_network.halo)


def test_a_changed_file_is_read_anew(model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    proto = onnx.load(model_file)
    for name in ("one", "two"):
        card = replace(ModelCard(name="", scale=2, halo=6), name=name)
        helper.set_model_props(proto, {CARD_KEY: card.to_json()})
        onnx.save(proto, path)
        assert read_model(path).card.name == name


def test_a_file_without_a_card_is_probed(
    model_file: Path, tmp_path: Path, random_network: Plain
) -> None:
    proto = onnx.load(model_file)
    del proto.metadata_props[:]
    path = tmp_path / "bare.onnx"
    onnx.save(proto, path)
    card = read_model(path).card
    assert (card.name, card.scale, card.halo) == ("bare", 2, random_network.halo)


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (graph(kind="Flatten"), "not a super-resolution model"),
        (graph(output_channels=5), "not a super-resolution model"),
        (graph(side=64), "one fixed size only"),
    ],
)
def test_onnx_files_that_enlarge_nothing(
    proto: onnx.ModelProto, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "other.onnx"
    onnx.save(proto, path)
    with pytest.raises(ModelError, match=f"other.onnx.*{message}"):
        read_model(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "there is no network in it"),
        (b"\x08\x07" * 50, "there is no network in it"),
        (b"not a model", "at byte 0 there is no field"),
        (b"\x00\x00", "at byte 0 there is no field"),
        (b"\x08", "it ends in the middle of a number"),
        (b"\x08\x80", "it ends in the middle of a number"),
        (b"\x08" + b"\xff" * 11, "the number before byte 11 has no end"),
        (b"\x3a\x02x", "the field at byte 0 is longer than the message around it"),
        (b"\x09\x00", "the field at byte 0 is longer than the message around it"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "is longer than the message around it"),
        # An entry of metadata, 14, whose key, 1, is longer than the entry; and one that is no text.
        (
            b"\x3a\x00\x72\x02\x0a\x05upres",
            "field at byte 4 is longer than the message",
        ),
        (b"\x3a\x00\x72\x03\x0a\x01\xff", "can't decode byte 0xff"),
    ],
)
def test_files_that_are_no_onnx(content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    path.write_bytes(content)
    message = f"text.onnx: not an ONNX model, or a damaged one: .*{re.escape(problem)}"
    with pytest.raises(ModelError, match=message) as caught:
        read_model(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read this model file: Is a directory"):
        read_card(tmp_path)


def test_every_beginning_of_a_model_file_is_refused_or_lacks_its_card(
    model_file: Path, tmp_path: Path
) -> None:
    content, path = model_file.read_bytes(), tmp_path / "part.onnx"
    for length in {*range(0, len(content), 97), *range(len(content) - 900, len(content))}:
        path.write_bytes(content[:length])
        with contextlib.suppress(ModelError):  # which is the only one
            assert read_card(path) is None


def test_metadata_comes_in_any_order_and_beside_other_fields(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    write_fake_model(path, name="first", scale=3, halo=2)
    card = path.read_bytes().removeprefix(b"\x3a\x00")
    fixed = b"\x09" + bytes(8) + b"\x0d" + bytes(4)
    other = b"\x72\x0b" + b"\x0a\x06author" + b"\x12\x01x"
    value_first = b"\x72\x0a" + b"\x12\x03{}}" + b"\x0a\x03key"
    for content in (card + b"\x3a\x00", other + card + fixed + value_first + b"\x3a\x01x"):
        path.write_bytes(content)
        assert read_card(path) == ModelCard("first", 3, 2)
    path.write_bytes(other + b"\x3a\x00" + value_first)
    assert read_card(path) is None


def test_cards_are_read_without_an_engine() -> None:
    code = "import sys, upres; upres.open_model('fast'); print('openvino' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


def test_missing_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        open_model(tmp_path / "none.onnx")
    shipped = "balanced, balanced-int8, best, best-int8, fast, fast-int8, photo, photo-int8"
    with pytest.raises(ModelError, match=f"no model is called 'fats': shipped are {shipped}; or"):
        open_model("fats")


def test_variants_are_chosen_by_precision(model_file: Path) -> None:
    for int8, automatic in ((True, "int8"), (False, "fp32")):
        backend = FakeBackend(int8=int8, computes=("fp32", "bf16"))
        assert open_at("fast", 3, "auto", backend).mode == automatic
        assert open_at("fast", 3, "int8", backend).mode == "int8"
        assert open_at("fast", 3, "fp32", backend).mode == "fp32"
        assert open_at("fast", 3, "bf16", backend).mode == "bf16"
        assert open_at("fast-int8", 3, "auto", backend).mode == "int8"
        assert open_at(model_file, 2, "auto", backend).path == model_file
    assert open_at("fast", 3, "auto", backend).card.scale == 3
    assert scales_of("photo", "auto") == [1, 2, 3, 4]
    assert scales_of(model_file, "auto") == [2]
    for precision in ("fp32", "bf16", "fp16"):
        message = f"'fast-int8' is int8: for {precision}, take 'fast'"
        with pytest.raises(ModelError, match=message):
            scales_of("fast-int8", precision)
    with pytest.raises(ModelError, match=r"random-x2.onnx' is fp32, and there is no int8 of it"):
        scales_of(model_file, "int8")


def test_each_scale_has_a_choice_of_its_own() -> None:
    class Choosy(FakeBackend):
        def choose(self, variants: Sequence[Model]) -> Choice:
            small = variants[0].card.scale == 2
            return Choice(variants[0] if small else variants[-1], "by its scale")

    settled = settle_modes("fast", "auto", Choosy())
    assert settled == (("fast x2", "fp32"), ("fast x3", "int8"), ("fast x4", "int8"))


def test_a_settled_precision_is_kept_by_a_backend_that_would_choose_another(
    model_file: Path,
) -> None:
    settled = (("fast x2", "int8+bf16"), ("random x2", "bf16"))
    other = FakeBackend(computes=("fp32", "bf16"))
    assert open_at("fast", 2, "auto", other).mode == "fp32"
    assert open_at("fast", 2, "auto", other, settled=settled).mode == "int8+bf16"
    assert open_at("fast", 3, "auto", other, settled=settled).mode == "fp32"
    assert open_at(model_file, 2, "auto", other, settled=settled).mode == "bf16"
    message = r"fast-int8 x2: the run was begun in int8\+bf16, and a fake cannot compute so here"
    with pytest.raises(ModelError, match=message):
        open_at("fast", 2, "auto", FakeBackend(), settled=settled)
    with pytest.raises(ModelError, match="the run was begun in int3"):
        open_at("fast", 2, "auto", other, settled=(("fast x2", "int3"),))


def test_the_backend_says_how_a_model_is_computed_unless_someone_else_does() -> None:
    model, int8 = fake_model(), fake_model(precision="int8")
    half = FakeBackend(computes=("fp16", "fp32"))
    assert computed_in(model, "auto", FakeBackend()).compute == "fp32"
    assert computed_in(model, "auto", half).compute == "fp16"
    assert computed_in(int8, "int8", half).compute == "fp16"
    assert computed_in(model, "fp32", half).compute == "fp32"
    assert computed_in(model, "fp16", half).compute == "fp16"
    both = FakeBackend(computes=("fp16", "bf16", "fp32"))
    assert computed_in(dataclasses.replace(model, compute="bf16"), "auto", both).compute == "bf16"
    assert computed_in(dataclasses.replace(model, compute="bf16"), "fp32", both).compute == "fp32"


def test_precisions_that_a_backend_or_a_model_has_not() -> None:
    message = "precision bf16: a fake cannot compute so here: choose fp32"
    with pytest.raises(ModelError, match=message):
        computed_in(fake_model(), "bf16", FakeBackend())
    with pytest.raises(ModelError, match=r"fake-x2.onnx' is fp32, and there is no int8 of it"):
        computed_in(fake_model(), "int8", FakeBackend())
    with pytest.raises(ModelError, match=r"fake-x2.onnx' is int8, and there is no fp32 of it"):
        computed_in(fake_model(precision="int8"), "fp32", FakeBackend())
    wrong: Any = "fp8"
    for refused in (
        lambda: computed_in(fake_model(), wrong, FakeBackend()),
        lambda: open_at("fast", 2, wrong, FakeBackend()),
        lambda: scales_of("fast", wrong),
    ):
        with pytest.raises(ModelError, match="no precision is called 'fp8': there are auto, fp32"):
            refused()


def test_a_model_is_compared_hashed_and_pickled(model_file: Path) -> None:
    model = open_model(model_file)
    again = pickle.loads(pickle.dumps(model))
    assert again == model
    assert hash(again) == hash(model)
    assert dataclasses.replace(model, compute="bf16") != model


def test_a_model_that_is_being_written_is_not_shipped_yet(tmp_path: Path) -> None:
    for name in ("mine-x2.onnx", ".mine-x3.upres-12-0.onnx", ".mine-x4.onnx", "mine-xl.onnx"):
        (tmp_path / name).touch()
    assert shipped_models(tmp_path) == {"mine": {2: tmp_path / "mine-x2.onnx"}}


def test_every_shipped_model_is_what_its_card_says() -> None:
    assert set(shipped_models()["fast"]) == {2, 3, 4}
    for name in shipped_models():
        if name.endswith(INT8):
            assert set(shipped_models()[name]) == set(shipped_models()[name.removesuffix(INT8)])
    for name, scales in shipped_models().items():
        for scale, path in scales.items():
            card = read_model(path).card
            assert (card.name, card.scale) == (name, scale)
            weights = onnx.load(path).graph.initializer
            assert card.parameter_count is not None
            assert sum(math.prod(tensor.dims) for tensor in weights) >= card.parameter_count
            assert card.precision == ("int8" if name.endswith(INT8) else "fp32")
            if name.startswith("fast"):
                assert card.parameter_count <= 150_000
            assert {score.dataset for score in card.scores} >= {"Set5", "Set14", "B100"}
            assert card.self_ensemble == name.startswith("best")
            assert card.protocol
            assert "free licences" in card.data
            assert card.commit
            assert not card.commit.endswith("-dirty")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("photo", 1),
        *((name, scale) for name in ("photo", "fast", "balanced") for scale in (2, 3, 4)),
    ],
)
def test_results_are_as_bright_as_the_picture(name: str, scale: int, precision: Precision) -> None:
    """No mean moves: that of the demo's photograph, for photo as a JPEG, to 0.1 grey levels."""
    photograph = pyvips.Image.new_from_file(str(DEMO)).extract_band(0, n=3)
    picture = photograph.numpy()
    if name == "photo":
        content = photograph.copy(interpretation="srgb").jpegsave_buffer(Q=75)
        picture = pyvips.Image.new_from_buffer(content, "").numpy()
    result = enlarge(picture, model=name, scale=scale, precision=precision)
    assert abs(result.mean(dtype=float) - picture.mean(dtype=float)) < 0.1
