from __future__ import annotations

import pytest

from upres.card import CARD_KEY, ModelCard, write_card


def test_write_card_replaces_the_card_and_nothing_else() -> None:
    onnx = pytest.importorskip("onnx")
    proto = onnx.ModelProto()
    proto.metadata_props.add(key="author", value="someone")
    for name in ("first", "second"):
        write_card(proto, ModelCard(name=name, scale=2, halo=5))
        entries = [(entry.key, entry.value) for entry in proto.metadata_props]
        assert [key for key, _ in entries] == ["author", CARD_KEY]
        assert dict(entries)["author"] == "someone"
        assert ModelCard.from_json(dict(entries)[CARD_KEY]).name == name
