"""Detectors: the people of a picture as OpenPose-18 poses (method, step 3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..extras import OPENPOSE, require
from ..pictures import to_image
from ..resize import resize
from .pose import Pose
from .weights import TRANSFORMERS_FILES

Find = Callable[[Tensor], list[Pose]]
"""From a picture `(3, h, w)` in 0..1 to the people in it, in its pixels."""

PERSON_SCORE = 0.3
"""Lowest confidence at which RT-DETR takes something for a person."""
JOINT_SCORE = 0.3
"""Lowest confidence at which ViTPose takes something for a joint."""
OPENPOSE_SIDE = 512
"""Shorter side (pixels) of what OpenPose searches: its network sees 184 rows of any picture, but
controlnet-aux enlarges 57 maps to the size of the picture."""

_COCO = [0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3]
"""For each joint of OpenPose-18 the one of COCO-17; the neck lies between the shoulders."""
_SHOULDERS = [5, 6]


class Detector(NamedTuple):
    """What finds people, and its networks: `find` computes on the device that they are on."""

    find: Find
    network: nn.Module


def detect(pictures: Tensor, find: Find) -> list[list[Pose]]:
    """The people of each picture of `(n, 3, h, w)`.

    Raises `ValueError` that names the pictures (from 0) without anyone.
    """
    people = [find(picture) for picture in pictures]
    empty = [str(number) for number, persons in enumerate(people) if not persons]
    if empty:
        raise ValueError(
            f"images: no person found in picture {', '.join(empty)} (from 0), needs one in each; "
            "for a stylised picture, detect on a photograph made from it, as the example workflow "
            "stylised_poses does"
        )
    return people


# OpenPose


def openpose(weights: Path, device: torch.device | str = "cpu") -> Detector:
    """OpenPose's body network as controlnet-aux runs it (Cao et al. 2019).

    `weights` is body_pose_model.pth, for non-commercial use. Raises `ValueError` where it is
    missing or something else, and where controlnet-aux is not installed.
    """
    if not weights.is_file():
        raise ValueError(f"detector: {weights} is missing, needs OpenPose's body_pose_model.pth")
    require("detector", OPENPOSE)
    from controlnet_aux.open_pose.body import Body
    from controlnet_aux.open_pose.model import bodypose_model
    from controlnet_aux.open_pose.util import transfer

    # its own constructor would unpickle whatever the file holds
    body = Body.__new__(Body)
    body.model = bodypose_model()
    try:
        stored = torch.load(weights, map_location="cpu", weights_only=True)
        body.model.load_state_dict(transfer(body.model, stored))
    except Exception as error:
        raise ValueError(f"detector: {weights} is no body model of OpenPose ({error})") from error
    body.model.eval().to(device)

    def find(picture: Tensor) -> list[Pose]:
        small, back = shrunk(picture, OPENPOSE_SIDE)
        pixels = np.asarray(to_image(small))
        # the network was trained on OpenCV's order of colours
        candidate, subset = body(pixels[:, :, ::-1].copy())
        return [back(_openpose_person(candidate, person)) for person in subset]

    return Detector(find, body.model)


def shrunk(picture: Tensor, side: int) -> tuple[Tensor, Callable[[Pose], Pose]]:
    """`picture` `(3, h, w)` with its shorter side at most `side`, and the way back for poses."""
    height, width = picture.shape[1:]
    share = min(1.0, side / min(height, width))
    size = round(height * share), round(width * share)
    small = resize(picture[None], size, "bilinear")[0]
    y, x = height / size[0], width / size[1]
    # a whole number is the middle of a pixel
    return small, lambda pose: pose.scaled(x, y, (x - 1) / 2, (y - 1) / 2)


def _openpose_person(candidate: object, person: object) -> Pose:
    """A row of OpenPose's `subset`: for each joint, its place in `candidate` or -1."""
    points, scores = torch.zeros(18, 2), torch.zeros(18)
    for joint, index in enumerate(int(i) for i in person[:18]):
        if index >= 0:
            points[joint] = torch.tensor(candidate[index][:2], dtype=torch.float32)
            scores[joint] = float(candidate[index][2])
    return Pose(points, scores)


# ViTPose


def vitpose(folder: Path, boxes: Path, device: torch.device | str = "cpu") -> Detector:
    """ViTPose (Xu et al. 2022) in the people boxes of RT-DETR (Zhao et al. 2023).

    Both as transformers has them, from folders of a config.json, a preprocessor_config.json and a
    model.safetensors. ViTPose must know the 17 joints of COCO. Raises `ValueError` for files that
    are missing or of another network, and for a transformers that is too old.
    """
    kinds = _transformers()
    pose_network = _pretrained(kinds.VitPoseForPoseEstimation, folder).to(device)
    box_network = _pretrained(kinds.RTDetrForObjectDetection, boxes).to(device)
    _check_joints(pose_network, folder)
    pose_processor, box_processor = (
        kind.from_pretrained(place, local_files_only=True)
        for kind, place in (
            (kinds.VitPoseImageProcessor, folder),
            (kinds.RTDetrImageProcessor, boxes),
        )
    )

    @torch.no_grad()
    def find(picture: Tensor) -> list[Pose]:
        image = to_image(picture)
        people = _people_boxes(box_network, box_processor, image)
        if not people:
            return []  # the processor of poses needs at least one
        inputs = pose_processor(images=image, boxes=[people], return_tensors="pt")
        found = pose_network(**_on_device(inputs, pose_network), **_experts(pose_network, people))
        [persons] = pose_processor.post_process_pose_estimation(found, boxes=[people])
        poses = [_from_coco(person["keypoints"], person["scores"]) for person in persons]
        return [pose for pose in poses if pose.present.any()]

    return Detector(find, nn.ModuleList([pose_network, box_network]))


def _transformers() -> Any:
    """Return the library, which ComfyUI brings in the version that it needs, or a newer one."""
    import transformers

    try:
        transformers.VitPoseForPoseEstimation  # noqa: B018
    except AttributeError as error:
        raise ValueError(
            f"detector: ViTPose needs transformers 4.48 or newer, got {transformers.__version__}; "
            "use OpenPose, or poses of another node, where another pack needs this one"
        ) from error
    return transformers


def _pretrained(kind: Any, folder: Path) -> nn.Module:
    """A network of transformers from a folder; nothing is downloaded, and no pickle is read.

    In float32, whatever it was saved in: what reads its maps takes no other.
    """
    for name in TRANSFORMERS_FILES:
        if not (folder / name).is_file():
            raise ValueError(f"detector: {folder / name} is missing, needs one of {kind.__name__}")
    _check_config(folder / "config.json")
    try:
        network, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:
        raise ValueError(f"detector: {folder} is no {kind.__name__} ({error})") from error
    if missing := sorted(report["missing_keys"]):
        raise ValueError(
            f"detector: {folder} is no {kind.__name__}: it lacks {missing[0]} and "
            f"{len(missing) - 1} more of its weights"
        )
    return network.float().eval()


def _check_config(file: Path) -> None:
    """Raise `ValueError` where it would have a part fetched from elsewhere."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"detector: {file} is not a JSON file ({error})") from error
    if config.get("backbone") or config.get("use_pretrained_backbone"):
        raise ValueError(
            f"detector: {file} names a backbone that is elsewhere, needs all in one folder"
        )


def _check_joints(network: Any, folder: Path) -> None:
    if network.config.num_labels != 17:
        raise ValueError(
            f"detector: {folder} knows {network.config.num_labels} joints, needs the 17 of COCO"
        )


def _on_device(inputs: Any, network: nn.Module) -> dict[str, Tensor]:
    parameter = next(network.parameters())
    return {"pixel_values": inputs["pixel_values"].to(parameter.device, parameter.dtype)}


def _experts(network: Any, people: list[Any]) -> dict[str, Tensor]:
    """What tells ViTPose++, trained on several data sets, that people are asked for."""
    if network.config.backbone_config.num_experts == 1:
        return {}
    device = next(network.parameters()).device
    return {"dataset_index": torch.zeros(len(people), dtype=torch.long, device=device)}


def _people_boxes(network: Any, processor: Any, image: Any) -> list[list[float]]:
    """Left, top, width and height of the people in a picture, in pixels."""
    inputs = processor(images=image, return_tensors="pt")
    outputs = network(**_on_device(inputs, network))
    [found] = processor.post_process_object_detection(
        outputs, threshold=PERSON_SCORE, target_sizes=[(image.height, image.width)]
    )
    names = network.config.id2label
    return [
        [left, top, right - left, bottom - top]
        for label, (left, top, right, bottom) in zip(
            found["labels"].tolist(), found["boxes"].tolist(), strict=True
        )
        if names[label] == "person"
    ]


def _from_coco(points: Tensor, scores: Tensor) -> Pose:
    """A person's `(17, 2)` points and `(17,)` scores of COCO as OpenPose-18."""
    order = [0 if joint is None else joint for joint in _COCO]
    points, scores = points.float().cpu(), scores.float().cpu()
    turned, sure = points[order], scores[order]
    turned[1], sure[1] = points[_SHOULDERS].mean(0), scores[_SHOULDERS].min()
    sure = torch.where(sure >= JOINT_SCORE, sure, 0.0)
    return Pose(torch.where(sure[:, None] > 0, turned, 0.0), sure)


# The demo's puppets


def puppet_reader(device: torch.device | str = "cpu") -> Detector:
    """The embedded demo's reader: one puppet a picture, and only puppets make sense to it."""
    from ..demo import load_reader
    from ..demo.networks import SIZE
    from ..demo.world import poses

    reader = load_reader(device)

    @torch.no_grad()
    def find(picture: Tensor) -> list[Pose]:
        height, width = picture.shape[1:]
        place = next(reader.parameters()).device
        small = F.interpolate(picture[None].to(place), (SIZE, SIZE), mode="area")
        [[pose]] = poses(reader(small).cpu(), SIZE)
        return [pose.scaled(width / SIZE, height / SIZE)]

    return Detector(find, reader)
