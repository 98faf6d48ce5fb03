from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from upres.errors import ExistsError, MissingExtraError, Remedy, UpresError

ERRORS = [
    UpresError("a.png: is large", Remedy("max_pixels", "allows more"), Remedy("fit", "shrinks it")),
    ExistsError(Path("a.png")),
    MissingExtraError("the report", "eval", Remedy("report", "does without", False)),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_come_back_whole_from_another_process(error: UpresError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.remedies) == (str(error), error.remedies)
    assert vars(again) == vars(error)


def test_a_message_ends_with_what_would_mend_it() -> None:
    assert str(ERRORS[0]) == "a.png: is large: max_pixels allows more, fit shrinks it"
    assert str(ERRORS[2]).endswith("'upres[eval]': report=False does without")
