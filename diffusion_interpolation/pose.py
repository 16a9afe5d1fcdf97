from dataclasses import dataclass
import torch
@dataclass
class Pose:
    points: torch.Tensor
    scores: torch.Tensor
