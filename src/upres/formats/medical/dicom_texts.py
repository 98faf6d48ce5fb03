"""Texts in DICOM files: those that do not change stay the bytes that they are.

A library that decodes texts and encodes them again replaces the letters that it does not know, in a
patient's name, too. Source: DICOM PS3.5, 6.1 (character sets), 6.2 (kinds of values).
"""

from __future__ import annotations

from pydicom.charset import convert_encodings, decode_bytes, encode_string
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.valuerep import TEXT_VR_DELIMS

_TEXTS = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
"""The kinds of values whose bytes are of a character set."""


def keep(dataset: Dataset) -> None:
    """Make texts be written as they were read, and all else as explicit little endian."""
    _decode_all_but_texts(dataset)
    correct_ambiguous_vr(dataset, True)
    _set_encoding(dataset)


def append(dataset: Dataset, name: str, between: str, text: str, most: int) -> bool:
    """Append ``text``, ASCII, to an element's; both have room for ``most`` letters.

    Whether the old text, cut to the room that there is, is there, too: some character sets cannot
    hold it beside ASCII.
    """
    value = dataset.get(name) or ""
    before = (value if isinstance(value, str) else " ".join(map(str, value))).strip()
    before = before[: max(0, most - len(text) - len(between))].strip()
    joined = f"{before}{between}{text}" if before else text[:most]
    encodings = convert_encodings(dataset.get("SpecificCharacterSet"))
    told = decode_bytes(encode_string(joined, encodings), encodings, TEXT_VR_DELIMS)
    kept = told == joined
    setattr(dataset, name, joined if kept else text[:most])
    return kept


def _decode_all_but_texts(dataset: Dataset) -> None:
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.value is not None:
            try:
                kind = raw.VR or dictionary_VR(tag)
            except KeyError:  # not in the standard's list
                kind = "UN"
            if kind in _TEXTS:
                dataset[tag] = raw._replace(VR=kind)
                continue
        if dataset[tag].VR == "SQ":
            for item in dataset[tag].value:
                _decode_all_but_texts(item)


def _set_encoding(dataset: Dataset) -> None:
    dataset.set_original_encoding(False, True, dataset.original_character_set)
    for tag in list(dataset.keys()):
        if dataset.get_item(tag).VR == "SQ":
            for item in dataset[tag].value:
                _set_encoding(item)
