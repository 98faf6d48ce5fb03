"""The steps that a window goes through: which there are, how far they look, what they do."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import FakeBackend, fake_model
from upres.enlarging.bounds import FROM_0_TO_1
from upres.enlarging.networks import run_network
from upres.enlarging.pieces import Axis
from upres.enlarging.steps import (
    FILL_RADIUS,
    fill_transparent,
    steps_for,
    take_piece,
)
from upres.enlarging.tiles import Span
from upres.enlarging.window import Window
from upres.enlarging.windows import enlarge_windows
from upres.raster.info import RasterInfo, Role, bands_of

Planes = NDArray[np.float32]

FILL, NETWORK, NEUTRALS, INKS, FLAT, ALPHA, CLIP, PALETTE, PIECE, HIDDEN = (
    "fill transparent",
    "network",
    "keep neutrals",
    "keep inks in range",
    "keep flat",
    "keep alpha in place",
    "clip",
    "keep palette",
    "take its piece",
    "put hidden back",
)
RGB: tuple[Role, ...] = ("red", "green", "blue")
KINDS: dict[str, tuple[tuple[Role, ...], list[str]]] = {
    "grey": (("grey",), [NETWORK, FLAT, CLIP, PIECE]),
    "grey and alpha": (("grey", "alpha"), [FILL, NETWORK, FLAT, ALPHA, CLIP, PIECE, HIDDEN]),
    "RGB": (RGB, [NETWORK, NEUTRALS, FLAT, CLIP, PIECE]),
    "RGBA": ((*RGB, "alpha"), [FILL, NETWORK, NEUTRALS, FLAT, ALPHA, CLIP, PIECE, HIDDEN]),
    "BGR and more": (("other", "blue", "green", "red"), [NETWORK, NEUTRALS, FLAT, CLIP, PIECE]),
    "CMYK": (("ink",) * 4, [NETWORK, NEUTRALS, INKS, FLAT, CLIP, PIECE]),
    "CMYK and alpha": (
        (*("ink",) * 4, "alpha"),
        [FILL, NETWORK, NEUTRALS, INKS, FLAT, ALPHA, CLIP, PIECE, HIDDEN],
    ),
    "two inks": (("ink",) * 2, [NETWORK, INKS, FLAT, CLIP, PIECE]),
    "many bands": (("other",) * 4, [NETWORK, FLAT, CLIP, PIECE]),
    "many bands and alpha": ((*("other",) * 5, "alpha"), [NETWORK, FLAT, ALPHA, CLIP, PIECE]),
    "index": (("index",), [NETWORK, FLAT, CLIP, PIECE]),
}


def info_of(*roles: Role, **rest: Any) -> RasterInfo:
    return RasterInfo(30, 41, bands_of(roles), np.dtype(np.float32), **rest)


def names(info: RasterInfo) -> list[str]:
    return [step.name for step in steps_for(info, fake_model().card, (60, 82))]


@pytest.mark.parametrize("kind", KINDS)
def test_the_bands_roles_decide_which_steps_there_are(kind: str) -> None:
    roles, expected = KINDS[kind]
    assert names(info_of(*roles)) == expected


def test_nothing_is_filled_where_alpha_covers_nothing_or_all() -> None:
    light = names(info_of(*RGB, "alpha", cover="emission"))
    assert {FILL, HIDDEN}.isdisjoint(light)
    assert ALPHA in light
    *colours, alpha = bands_of((*RGB, "alpha"))
    opaque = (*colours, dataclasses.replace(alpha, constant=True))
    assert {FILL, ALPHA, HIDDEN}.isdisjoint(
        names(dataclasses.replace(info_of("grey"), bands=opaque))
    )


@pytest.mark.parametrize(
    ("roles", "halo", "size", "reaches"),
    [
        ((*RGB, "alpha"), 6, (60, 82), {FILL: 4, NETWORK: 6}),
        # What looks at the network's input adds what it looks further than that.
        (RGB, 1, (60, 82), {NETWORK: 1, NEUTRALS: 1}),
        (RGB, 0, (60, 82), {NEUTRALS: 2, FLAT: 1}),
        ((*RGB, "alpha"), 0, (60, 82), {FILL: 4, NEUTRALS: 2, FLAT: 1, ALPHA: 1}),
        (("ink",) * 4, 0, (60, 82), {NEUTRALS: 2, INKS: 1, FLAT: 1}),
        (("ink",) * 2, 1, (60, 82), {NETWORK: 1}),
        # Reduced by half, the filter reaches 4 of its own samples, and half of one: 5 + 1, by x2.
        (("grey",), 6, (30, 41), {NETWORK: 6, PIECE: 3}),
        (("grey",), 6, (60, 81), {NETWORK: 6, PIECE: 2}),
        (("grey",), None, (60, 82), {FLAT: 1}),
    ],
)
def test_steps_say_how_much_further_they_look(
    roles: tuple[Role, ...], halo: int | None, size: tuple[int, int], reaches: dict[str, int]
) -> None:
    found = steps_for(info_of(*roles), fake_model(halo=halo).card, size)
    assert {step.name: step.reach for step in found if step.reach} == reaches


@pytest.mark.parametrize("size", [(112, 130), (90, 130), (57, 66)])
@pytest.mark.parametrize("halo", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_halo_of_all_that_they_look_is_enough(
    kind: str, halo: int, size: tuple[int, int]
) -> None:
    info = dataclasses.replace(info_of(*KINDS[kind][0]), height=56, width=65)
    model = fake_model(halo=halo)
    random = np.random.default_rng(9)
    # Faint colours, and much that is transparent: what is far away counts.
    picture = np.float32(0.5) + random.random((56, 65, len(info.bands)), np.float32) / 100
    if info.alpha is not None:
        picture[:, :, info.alpha] = random.random((56, 65)) > 0.9

    def result(window_pixels: int) -> tuple[Planes, int]:
        backend = FakeBackend(window_pixels, tint=(1.02, 1, 0.98))
        whole = np.full((*size, len(info.bands)), np.nan, np.float32)
        count = 0
        for top, left, block in enlarge_windows([picture], info, model, backend, size=size):
            whole[top : top + block.shape[0], left : left + block.shape[1]] = block
            count += 1
        return whole, count

    (tiled, several), (whole, one) = result(1), result(56 * 65)
    assert (several > 1, one) == (True, 1)
    # Between classes, what is nearest may change by a rounding: they are compared exactly.
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=0 if kind == "index" else 2e-6)


def window(given: Planes, **backend: Any) -> Window:
    """Of the whole raster, enlarged twofold by a network that repeats each pixel."""
    engine = FakeBackend(**backend).open(fake_model(halo=0)).compile(*given.shape[:2])
    pieces = [Axis(side, 2 * side, 2).piece(Span(0, side, 0, side)) for side in given.shape[:2]]
    return Window(given, engine, (pieces[0], pieces[1]))


# What is under transparency


def filled(given: Planes, colours: tuple[int, ...] = (0, 1, 2), alpha: int = 3) -> Planes:
    before, made = given.copy(), window(given)
    fill_transparent(made, alpha, colours)
    np.testing.assert_array_equal(given, before)  # as others may have it, too
    return made.given


def test_a_visible_colour_is_continued_so_far_and_no_further() -> None:
    given = np.zeros((15, 15, 4), np.float32)
    given[7, 7] = (0.2, 0.4, 0.6, 0.5)
    result = filled(given)
    near = np.s_[7 - FILL_RADIUS : 8 + FILL_RADIUS]
    np.testing.assert_allclose(result[near, near, :3], np.broadcast_to(given[7, 7, :3], (9, 9, 3)))
    result[near, near, :3] = 0
    given[7, 7, :3] = 0
    np.testing.assert_array_equal(result, given)


def test_of_several_colours_it_is_the_mean_by_their_alpha() -> None:
    given = np.zeros((1, 3, 4), np.float32)
    given[0, 0], given[0, 2] = (1, 0, 0, 1), (0, 1, 0, 0.5)
    result = filled(given)
    np.testing.assert_allclose(result[0, 1], (2 / 3, 1 / 3, 0, 0), atol=1e-6)
    # What shows the least bit stays as it is.
    np.testing.assert_array_equal(result[0, ::2], given[0, ::2])


def test_bands_of_no_colour_are_not_filled() -> None:
    given = np.random.default_rng(1).random((6, 6, 5), np.float32)
    given[:3, :, 4] = 0
    result = filled(given, colours=(0, 2), alpha=4)
    np.testing.assert_array_equal(result[:, :, [1, 3, 4]], given[:, :, [1, 3, 4]])
    assert (result[:3, :, [0, 2]] != given[:3, :, [0, 2]]).all()


# What goes through a network


def test_three_bands_go_together_in_the_order_of_colours_and_others_as_grey() -> None:
    given = np.random.default_rng(1).random((4, 5, 4), np.float32)
    made = window(given, tint=(1.5, 1, 0.5))
    run_network(made, (3, 2, 0), ())
    assert made.colour is not None
    np.testing.assert_array_equal(made.colour, given[:, :, [3, 2, 0]].transpose(2, 0, 1))
    # Of the band that goes alone, luma is kept (BT.601).
    factors = np.array([0.5, 0.299 * 1.5 + 0.587 + 0.114 * 0.5, 1, 1.5])
    expected = (given * factors).repeat(2, 0).repeat(2, 1).transpose(2, 0, 1)
    np.testing.assert_allclose(made.planes, expected, rtol=1e-5)


def test_classes_are_repeated_whatever_the_network_makes_of_them() -> None:
    given = np.random.default_rng(1).random((4, 5, 2), np.float32)
    made = window(given, tint=(0, 0, 0))
    run_network(made, None, (1,))
    np.testing.assert_array_equal(made.planes[0], np.zeros((8, 10)))
    np.testing.assert_array_equal(made.planes[1], given[:, :, 1].repeat(2, 0).repeat(2, 1))


def test_a_reduced_piece_stays_within_0_and_1_and_between_classes_is_nothing() -> None:
    edge = np.zeros((12, 12, 2), np.float32)
    edge[:, 6:] = 1
    made = window(edge)
    run_network(made, None, (1,))
    reduced = Axis(12, 17, 2).piece(Span(0, 12, 0, 12))
    made.pieces = (reduced, reduced)
    unclipped = reduced.reduced(reduced.reduced(made.planes, 1), 2)
    assert unclipped.min() < -0.01  # a bicubic filter's ripples
    take_piece(made, (1,), (FROM_0_TO_1, FROM_0_TO_1))
    assert made.planes.shape == (2, 17, 17)
    assert (made.planes.min(), made.planes.max()) == (0, 1)
    assert set(np.unique(made.planes[1])) == {0, 1}
    assert len(np.unique(made.planes[0])) > 2


def test_a_palette_is_kept_of_what_is_clipped_and_nothing_else_is_put_back() -> None:
    info = info_of(*RGB, "alpha")
    steps = [s.name for s in steps_for(info, fake_model().card, (60, 82), keeps_palette=True)]
    assert steps == [FILL, NETWORK, NEUTRALS, FLAT, ALPHA, CLIP, PALETTE, PIECE]
