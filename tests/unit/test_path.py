from __future__ import annotations

import pytest
import torch

from diffusion_interpolation.method.path import (
    Path,
    candidate_count,
    denoise_at_depth,
    draw_noise,
    row_seed,
)


@pytest.mark.parametrize("between", [(1,), (2,), (3,), (15,), (6, 1, 0, 4), (1023,)])
def test_every_frame_is_made_once_from_finished_neighbours(between):
    path = Path(between)
    done = set(path.keyframes)
    for slots in path.slots():
        assert slots
        assert all(slot.left in done and slot.right in done for slot in slots)
        done |= {slot.index for slot in slots}
    assert done == set(range(path.frames))
    assert sum(len(slots) for slots in path.slots()) == sum(between)


def test_seventeen_frames_are_the_papers_four_depths():
    path = Path.of(17, 2)
    assert [[slot.index for slot in slots] for slots in path.slots()] == [
        [8],
        [4, 12],
        [2, 6, 10, 14],
        [1, 3, 5, 7, 9, 11, 13, 15],
    ]
    assert all(slot.weight == 0.5 for slots in path.slots() for slot in slots)


def test_uneven_ranges_are_weighted_by_distance():
    (first,), *_ = Path((4,)).slots()
    assert (first.index, first.position, first.weight) == (2, 0.4, 0.4)


def test_positions_count_keyframes():
    path = Path.of(10, 3)
    assert path.between == (4, 3)
    positions = {slot.index: slot.position for slots in path.slots() for slot in slots}
    assert positions[7] == 1.5
    assert [positions[i] for i in (1, 2, 3, 4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(("frames", "keyframes"), [(2, 2), (17, 1), (5, 5)])
def test_too_few_frames_or_keyframes(frames, keyframes):
    with pytest.raises(ValueError, match="frames: got"):
        Path.of(frames, keyframes)


def test_levels_fall_with_depth():
    assert [denoise_at_depth(d, 4, 0.6, 0.3) for d in (1, 2, 3, 4)] == pytest.approx(
        [0.6, 0.5, 0.4, 0.3]
    )
    assert denoise_at_depth(2, 3, 0.6, 0.2, "convex") == pytest.approx(0.3)
    assert denoise_at_depth(2, 3, 0.6, 0.2, "concave") == pytest.approx(0.2 + 0.4 * 0.5**0.5)
    assert denoise_at_depth(1, 1, 0.6, 0.2) == 0.6


@pytest.mark.parametrize("levels", [(0.3, 0.55), (0.5, 0.0), (1.2, 0.5)])
def test_levels_out_of_range(levels):
    with pytest.raises(ValueError, match="denoise: got max_denoise"):
        denoise_at_depth(1, 3, *levels)


def test_unknown_shape():
    with pytest.raises(ValueError, match="'wavy'; it must be one of linear, convex, concave"):
        denoise_at_depth(1, 3, 0.5, 0.3, "wavy")


def test_candidates_as_in_the_paper():
    assert [candidate_count(depth, 8) for depth in range(1, 8)] == [8, 7, 6, 5, 4, 3, 3]
    assert [candidate_count(depth, 2) for depth in (1, 2)] == [2, 2]


def test_noise_depends_on_seed_position_and_candidate_alone():
    shape = (4, 8, 8)
    one = draw_noise(shape, 3, 0.5, 1)
    assert torch.equal(one, draw_noise(shape, 3, 0.5, 1))
    for other in ((4, 0.5, 1), (3, 0.25, 1), (3, 0.5, 2)):
        assert not torch.equal(one, draw_noise(shape, *other))
    assert abs(draw_noise((64, 64, 64), 0, 0.5, 0).std().item() - 1) < 0.01


def test_every_candidate_has_a_seed_of_its_own():
    seeds = {row_seed(s, p, c) for s in (0, 1) for p in (0.25, 0.5) for c in range(4)}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert row_seed(3, 0.5, 1) == row_seed(3, 0.5, 1)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=f"seed: got {seed}, needs 0 or more"):
        row_seed(seed, 0.5, 0)
