import pytest
import torch

from diffusion_interpolation.method.matching.anchors import pose_anchors, read_anchors
from diffusion_interpolation.poses.pose import Pose

SIZE = (100, 400)
"""Half a side high and two sides wide."""


def test_a_line_is_a_point_in_every_keyframe():
    [first, second] = read_anchors("100,50 -> 200, 25 -> 0,0\n\n 8.5 , 4->9,4", SIZE, 3)
    assert torch.allclose(first.first, torch.tensor([[0.5, 0.25], [0.0425, 0.02]]))
    assert torch.allclose(first.second, torch.tensor([[1.0, 0.125], [0.045, 0.02]]))
    # the second line ends at the second keyframe
    assert torch.allclose(second.first, torch.tensor([[1.0, 0.125]]))
    assert torch.allclose(second.second, torch.tensor([[0.0, 0.0]]))


def test_a_point_may_be_hidden_in_a_keyframe():
    [first, second] = read_anchors("? -> 10,10 -> 20,20", SIZE, 3)
    assert len(first.first) == 0 and len(second.first) == 1


def test_a_loop_goes_back_to_the_first_keyframe():
    text = "10,10 -> 20,20 -> 30,30\n? -> 40,40 -> 50,50\n60,60 -> 70,70"
    [*_, back] = read_anchors(text, SIZE, 3, loop=True)
    assert torch.allclose(back.first * 200, torch.tensor([[30.0, 30.0]]))
    assert torch.allclose(back.second * 200, torch.tensor([[10.0, 10.0]]))
    moved = Pose(pose().points + 5, pose().scores)
    there, back = pose_anchors([[pose()], [moved]], SIZE, loop=True)
    assert torch.equal(there.first, back.second) and torch.equal(there.second, back.first)


def test_without_text_there_are_no_anchors():
    assert [len(gap.first) for gap in read_anchors(" \n", SIZE, 4)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("10,10 -> 20,20\n10,10", "line 2 is '10,10'"),
        ("10 -> 20", "line 1 is '10 -> 20'"),
        ("a,b -> 1,2", "needs points in pixels"),
        ("1,2 -> 3,4 -> 5,6", "has 3 points, there are 2 keyframes"),
        ("1,2 -> 401,4", "a point at 401,4, outside of pictures of 400 x 100"),
        ("-1,2 -> 4,4", "outside"),
    ],
)
def test_other_lines_are_refused(text, told):
    with pytest.raises(ValueError, match="anchors: ") as error:
        read_anchors(text, SIZE, 2)
    assert told in str(error.value)


def pose(**changes: float) -> Pose:
    points = torch.stack([torch.arange(18.0) * 10, torch.arange(18.0)], 1)
    scores = torch.ones(18)
    for joint, score in changes.items():
        scores[int(joint[1:])] = score
    return Pose(points=points, scores=scores)


def test_joints_and_limbs_that_both_poses_have_are_anchors():
    [whole] = pose_anchors([[pose()], [pose()]], SIZE)
    assert torch.equal(whole.first, whole.second)
    assert torch.allclose(whole.first[:18] * 200, pose().points)
    # right elbow to wrist
    assert any(torch.allclose(point * 200, torch.tensor([32.0, 3.2])) for point in whole.first)
    [partly] = pose_anchors([[pose(j4=0)], [pose()]], SIZE)
    assert len(partly.first) == len(whole.first) - 1 - 4


def test_poses_without_a_joint_in_common_give_no_anchors():
    nothing = Pose(points=torch.zeros(18, 2), scores=torch.zeros(18))
    [gap] = pose_anchors([[pose()], [nothing]], SIZE)
    assert gap.first.shape == gap.second.shape == (0, 2)
