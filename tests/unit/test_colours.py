"""Colours that stray are brought back, and those that do not are left alone."""

import time

import pytest
import torch
from torch.nn import functional as F

from diffusion_interpolation.method.colours.flow import flow
from diffusion_interpolation.method.colours.guided import upsample
from diffusion_interpolation.method.colours.tracing import match_colours, read_places
from diffusion_interpolation.method.matching.anchors import Anchors, none
from diffusion_interpolation.method.matching.correspondence import Correspondence, anchored
from diffusion_interpolation.method.matching.transport import cell_centres

FRAMES = 9
WARM = torch.tensor([1.15, 1.0, 0.8]).view(3, 1, 1)


def texture(size: int = 96, seed: int = 0) -> torch.Tensor:
    """A picture of soft blots of many sizes."""
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.rand(1, 3, n, n, generator=generator) for n in (4, 12, 48)]
    return (
        sum(F.interpolate(part, (size, size), mode="bicubic") for part in parts)[0].clamp(0, 3) / 3
    )


def graded() -> torch.Tensor:
    """A picture that goes over to a graded copy of itself."""
    picture = texture()
    return torch.stack([picture.lerp((picture * WARM).clamp(0, 1), i / 8) for i in range(FRAMES)])


def strayed(frames: torch.Tensor, by: float = 0.05) -> torch.Tensor:
    """Frames whose tints are wrong, each otherwise, but for the first and the last."""
    tints = by * torch.randn(len(frames), 3, 1, 1, generator=torch.Generator().manual_seed(1))
    tints[[0, -1]] = 0
    return (frames + tints).clamp(0, 1)


def error(frames: torch.Tensor, wanted: torch.Tensor) -> float:
    return (frames - wanted).square().mean().sqrt().item()


def test_frames_with_nothing_to_mend_stay_as_they_are():
    frames = graded()
    assert (match_colours(frames) - frames).abs().max() < 1 / 255
    still = texture().expand(5, -1, -1, -1)
    assert torch.equal(match_colours(still), still)


def test_tints_that_stray_are_mended():
    frames = graded()
    wrong = strayed(frames)
    made = match_colours(wrong)
    assert error(made, frames) < 0.35 * error(wrong, frames)
    assert torch.equal(made[[0, -1]], wrong[[0, -1]])


def test_tints_are_mended_while_the_picture_moves():
    wide = texture(128)
    frames = torch.stack([wide[:, 16:112, i : i + 96] for i in range(FRAMES)])
    wrong = strayed(frames)
    assert error(match_colours(wrong), frames) < 0.6 * error(wrong, frames)
    assert error(match_colours(frames), frames) < 1 / 255


def test_what_cannot_be_followed_is_left_alone():
    frames = torch.stack([texture(seed=seed) for seed in range(FRAMES)])
    assert error(match_colours(frames), frames) < 2 / 255


def test_strength_says_how_far_colours_are_moved():
    wrong = strayed(graded())
    whole, half = match_colours(wrong) - wrong, match_colours(wrong, strength=0.5) - wrong
    assert torch.allclose(half, whole / 2, atol=5e-3)
    assert torch.equal(match_colours(wrong, strength=0.0), wrong)


def test_each_gap_has_its_own_keyframes():
    one, two = strayed(graded()), strayed(graded().flip(-1))
    both = torch.cat([one, two[1:]])
    made = match_colours(both, [0, FRAMES - 1, 2 * FRAMES - 2])
    assert torch.equal(made[:FRAMES], match_colours(one))
    assert torch.equal(match_colours(both, [0, FRAMES - 1])[FRAMES:], both[FRAMES:])


def test_a_correction_ends_at_an_edge():
    picture = torch.full((1, 3, 64, 64), 0.2)
    picture[..., 30:] = 0.8
    coarse = F.interpolate(picture, (32, 32), mode="area")
    field = torch.where(coarse < 0.5, 0.1, 0.0)
    made = upsample(field, coarse, picture)
    assert (made[..., 30:].abs() < 0.01).all() and (made[..., :30] - 0.1).abs().max() < 0.01


def test_flow_sees_moves_under_another_tint():
    wide = texture(128)[None]
    before, after = wide[..., 20:100, 20:100], wide[..., 21:101, 18:98] + 0.1
    found = flow(after, before, 3)[0, :, 10:-10, 10:-10]
    assert (found.mean((1, 2)) - torch.tensor([-2.0, 1.0])).abs().max() < 0.1


@pytest.mark.parametrize("places", [[0], [0, 9], [4, 2], [3, 3]])
def test_keyframes_that_are_not_there_are_named(places):
    with pytest.raises(ValueError, match=r"keyframes: got .* for 9 frames, needs 2 or more"):
        match_colours(graded(), places)


def test_numbers_of_keyframes_are_read():
    assert read_places(" 0, 4,8 ", 9) == [0, 4, 8] and read_places("", 9) == [0, 8]
    with pytest.raises(ValueError, match="keyframes: got '0; 4', needs numbers of frames"):
        read_places("0; 4", 9)
    with pytest.raises(ValueError, match="frames: got 1, needs at least 2"):
        read_places("", 1)


def test_a_frame_of_512_takes_less_than_a_second():
    frames = strayed(F.interpolate(graded(), (512, 512), mode="bilinear"))
    begun = time.process_time()
    match_colours(frames)
    assert time.process_time() - begun < 1.0 * (FRAMES - 2)


def whole_map(size: int = 12) -> Correspondence:
    """A map of pictures in which nothing moves, with a point in each cell."""
    points = cell_centres(size, size, 1.0, torch.zeros(1))
    return Correspondence(points, points, torch.ones(len(points)), 1.0)


def test_along_a_map_colours_are_the_mix_of_those_of_both_keyframes():
    frames = graded()
    wrong = strayed(frames, 0.2)
    made = match_colours(wrong, gaps=[whole_map()])
    assert error(made, frames) < 0.2 * error(wrong, frames)
    assert error(made, frames) < 0.7 * error(match_colours(wrong), frames)
    assert torch.equal(made[[0, -1]], wrong[[0, -1]])
    half = match_colours(wrong, strength=0.5, gaps=[whole_map()])
    torch.testing.assert_close(half, wrong.lerp(made, 0.5))


def test_along_a_map_frames_with_nothing_to_mend_stay_as_they_are():
    frames = graded()
    assert (match_colours(frames, gaps=[whole_map()]) - frames).abs().max() < 1.5 / 255


def test_what_no_point_of_the_map_knows_stays_as_it_is():
    """A black square is in the first keyframe alone, where the map has no points."""
    frames = torch.full((5, 3, 64, 64), 0.6)
    frames[1:-1] += torch.tensor([0.1, 0, -0.1]).view(3, 1, 1)
    frames[:-1, :, 20:44, 20:44] = 0.05
    full = whole_map()
    outside = ((full.first - 0.5).abs() > 0.25).any(1)
    gap = Correspondence(full.first[outside], full.second[outside], full.weights[outside], 1.0)
    made = match_colours(frames, gaps=[gap])
    assert (made[2, :, 24:40, 24:40] - 0.05).abs().max() < 0.02
    assert (made[2, :, :14] - 0.6).abs().max() < 0.03
    everywhere = match_colours(frames, gaps=[full])
    assert (everywhere[2, :, 24:40, 24:40] - 0.05).mean() > 0.1


@pytest.mark.parametrize("points", [0, 3])
def test_a_gap_with_few_points_is_followed_from_frame_to_frame(points):
    wrong = strayed(graded())
    few = anchored(Anchors(*2 * [whole_map().first[:points]]), 1.0)
    assert torch.equal(match_colours(wrong, gaps=[few]), match_colours(wrong))


def test_a_loop_leads_back_to_the_first_keyframe():
    frames = torch.cat([graded(), graded().flip(0)[1:-1]])
    wrong = strayed(frames, 0.2)
    wrong[8] = frames[8]
    made = match_colours(wrong, [0, 8], gaps=[whole_map(), whole_map()])
    assert len(made) == len(wrong)
    assert error(made[9:], frames[9:]) < 0.2 * error(wrong[9:], frames[9:])


@pytest.mark.parametrize(
    ("gaps", "message"),
    [
        ([whole_map()] * 3, "correspondence: got maps of 3 gaps for 2 keyframes, needs 1, or 2"),
        ([anchored(none(), 2.0)], "correspondence: is of pictures 2 times as wide as high"),
    ],
)
def test_maps_of_other_keyframes_are_named(gaps, message):
    with pytest.raises(ValueError, match=message):
        match_colours(graded(), gaps=gaps)
