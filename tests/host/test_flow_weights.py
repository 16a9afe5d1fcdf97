"""The embedded flow transformer's weights give the same output in diffusers and in the host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import comfy_host
import pytest
import torch

from diffusion_interpolation.demo import networks

PACK = Path(__file__).parents[2]
PROGRAM = """
import importlib, os, sys, types
host, pack, file = sys.argv[1:4]
sys.argv = [sys.argv[0], "--cpu"]
sys.path.insert(0, host)
os.chdir(host)
import comfy.options
comfy.options.enable_args_parsing()
import torch
root = types.ModuleType("pack")
root.__path__ = [pack]
sys.modules["pack"] = root
flow = importlib.import_module("pack.nodes.networks.puppet_flow")
given = torch.load(file, weights_only=True)
model = flow.flow_model(given["weights"], torch.float32)
outputs = []
with torch.inference_mode():
    rows = zip(*(given[name] for name in ("noisy", "sigma", "text", "tokens")))
    for noisy, sigma, text, tokens in rows:
        rest = {"c_crossattn": text[None, :tokens], "num_tokens": int(tokens)}
        outputs.append(model.apply_model(noisy[None], sigma[None], transformer_options={}, **rest))
torch.save(torch.cat(outputs), file)
"""


@pytest.mark.skipif(bool(comfy_host.why_not()), reason=comfy_host.why_not() or "there is a host")
def test_the_host_predicts_what_diffusers_predicts(tmp_path):
    torch.manual_seed(0)
    model = networks.transformer().eval().requires_grad_(False)
    for weights in model.parameters():
        weights += 0.05 * torch.randn_like(weights)
    noisy, sigma = torch.randn(3, 4, networks.GRID, networks.GRID), torch.tensor([0.9, 0.5, 0.1])
    text, tokens = torch.randn(3, 23, networks.TEXT_WIDTH), torch.tensor([23, 9, 2])
    mask = torch.arange(23)[None] < tokens[:, None]
    way = -model(noisy, 1 - sigma, text, mask, return_dict=False)[0]
    given = {"weights": model.state_dict(), "noisy": noisy, "sigma": sigma}
    torch.save({**given, "text": text, "tokens": tokens}, tmp_path / "given.pt")
    host = comfy_host.find_host()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    words = [comfy_host.host_python(host), program, host, PACK, tmp_path / "given.pt"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    denoised = torch.load(tmp_path / "given.pt", weights_only=True)
    assert torch.allclose(denoised, noisy - sigma[:, None, None, None] * way, atol=1e-4)
