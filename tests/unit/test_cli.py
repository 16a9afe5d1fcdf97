"""The command, on the embedded model: what it writes, how it goes on, what it refuses."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from diffusion_interpolation import __version__
from diffusion_interpolation.command import making as making_module
from diffusion_interpolation.command import run_folder
from diffusion_interpolation.command.cli import main
from diffusion_interpolation.command.job import Job
from diffusion_interpolation.command.parser import parse_images
from diffusion_interpolation.demo import load_model, load_reader, weights_folder, world
from diffusion_interpolation.demo.networks import SIZE
from diffusion_interpolation.demo.pair import pair, write_pair
from diffusion_interpolation.files import write_whole
from diffusion_interpolation.method.learning.inversion import Inversion
from diffusion_interpolation.models.diffusers import model as diffusers_model

QUICK = ["--frames", "5", "--steps", "4", "--inversion-steps", "2", "--candidates", "4"]
QUICK += ["--inversion-draws", "1"]
SHORTEST = ["--frames", "3", "--candidates", "1", "--inversion-steps", "0"]
"""What makes a run quicker still, where no candidates and nothing learned are looked at."""


def command(folder: Path, *more: object, out: Path | None = None) -> list[str]:
    """A quick run on the two puppets of `folder`, with their poses."""
    pictures, poses = write_pair(folder / "inputs")
    words = [*pictures, "--out", out or folder / "out", "--pose", *poses, *QUICK, *more]
    return [str(word) for word in words]


def pixels(folder: Path) -> np.ndarray:
    """All frames of a run, `(frames, h, w, 3)`."""
    files = sorted((folder / "frames").glob("*.png"))
    return np.stack([np.asarray(Image.open(file)) for file in files])


def record(folder: Path) -> dict:
    return json.loads((folder / "path.json").read_text())


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """The folder of a quick run that went through; its inputs are beside it."""
    folder = tmp_path_factory.mktemp("done")
    assert main(command(folder)) == 0
    return folder / "out"


def test_everything_promised_is_written(done):
    inputs = done.parent / "inputs"
    assert (done / "frames" / "000.png").read_bytes() == (inputs / "first.png").read_bytes()
    assert (done / "frames" / "004.png").read_bytes() == (inputs / "second.png").read_bytes()
    assert pixels(done).shape == (5, SIZE, SIZE, 3)
    with Image.open(done / "path.webp") as film:
        assert film.n_frames == 8
    assert (done / "path.mp4").stat().st_size > 1000
    page = (done / "index.html").read_text()
    assert "data:image/png;base64," in page and '"autoplay": true' in page
    assert re.findall(r'class="strip" data-frame="(\d)">data:image/jpeg', page) == ["1", "2", "3"]
    with Image.open(done / "candidates" / "002.jpg") as strip:
        assert strip.width == 4 * strip.height
    assert re.findall(r'href="([^"]+)">', page)[-3:] == ["path.mp4", "path.webp", "frames/"]
    facts = record(done)
    assert facts["finished"] and facts["settings"]["seed"] == 0
    assert [frame["position"] for frame in facts["frames"]] == [0, 0.25, 0.5, 0.75, 1]
    assert [len(frame.get("scores", [])) for frame in facts["frames"]] == [0, 3, 4, 3, 0]
    assert {"textual inversion", "frames"} <= set(facts["seconds"])
    assert facts["versions"]["torch"] == metadata.version("torch")


def test_the_flow_transformer_makes_the_demos_frames(tmp_path):
    """Without poses, for which it has no ControlNet; the same by both ways of asking."""
    assert main(["demo", "--model", "demo-flow", "--out", str(tmp_path / "demo"), *QUICK]) == 0
    inputs = [str(tmp_path / "demo" / "inputs" / f"{name}.png") for name in ("first", "second")]
    out = tmp_path / "images"
    assert main([*inputs, "--model", "demo-flow", "--out", str(out), *QUICK]) == 0
    frames = pixels(out)
    assert np.array_equal(frames, pixels(tmp_path / "demo" / "run"))
    settings = record(out)["settings"]
    assert settings["model"] == "demo-flow" and settings["max_denoise"] == 0.55
    assert [len(frame.get("scores", [])) for frame in record(out)["frames"]] == [0, 3, 4, 3, 0]
    for other in (frames[0], frames[-1], (frames[0].astype(float) + frames[-1]) / 2):
        assert np.abs(frames[2].astype(float) - other).mean() > 3


def test_poses_are_found_in_the_images(done, tmp_path):
    """By the reader of the embedded model: the frames are those of the poses in the files."""
    words = command(tmp_path, "--pose", "detect")
    first = words.index("--pose")
    del words[first : first + 3]
    assert main(words) == 0
    plain = [word for word in words if word not in ("--pose", "detect")]
    plain[plain.index(str(tmp_path / "out"))] = str(tmp_path / "plain")
    assert main(plain) == 0
    found, read, without = (
        pixels(folder)[2].astype(int) for folder in (tmp_path / "out", done, tmp_path / "plain")
    )
    assert np.abs(found - read).mean() < 0.3 * np.abs(without - read).mean()
    facts = record(tmp_path / "out")
    assert facts["settings"]["poses"] and facts["finished"]


def test_matched_images_move_their_things(tmp_path):
    """Half-way the joints are nearer to where they should be."""
    pictures, _ = write_pair(tmp_path)
    short = ["--frames", "3", "--steps", "10", "--inversion-steps", "0", "--candidates", "1"]
    ways = {"plain": ["--max-denoise", "0.35", "--min-denoise", "0.15"], "moved": ["--match"]}
    for name, more in ways.items():
        words = [*map(str, pictures), "--out", str(tmp_path / name), *short, *more]
        assert main(words) == 0
    assert main(["demo", "--match", "--out", str(tmp_path / "demo"), *short]) == 0
    settings = record(tmp_path / "moved")["settings"]
    assert (settings["max_denoise"], settings["min_denoise"]) == (0.35, 0.15)
    truth = world.joints(pair().mean(0, keepdim=True))
    frames = np.stack([pixels(tmp_path / name)[1] for name in (*ways, "demo/run")])
    seen = world.joints(load_reader()(torch.from_numpy(frames).movedim(-1, 1) / 255))
    plain, moved, posed = (seen - truth).norm(dim=-1).mean(1).tolist()
    assert moved < 0.9 * plain and posed < 0.9 * moved


def test_joints_are_certain_points_of_the_map():
    """Those of both poses, and points on the limbs between them."""
    values = parse_images(["a.png", "b.png", "--match"])
    model, pictures = load_model(), world.render(pair(), SIZE)
    learned = Inversion(model.encode_text(["a puppet"]), model.encode_text([""]), {})
    told = Job.of(values), model, learned, world.poses(pair(), SIZE), pictures
    [gap] = making_module.along_map(*told).neighbours.gaps
    sure = gap.first[gap.weights == 1]
    joints = world.joints(pair())[0].float()
    assert ((sure[:, None] - joints).norm(dim=-1).amin(0) < 0.01).all() and len(sure) < len(gap)


def test_without_a_reranker_candidates_are_ranked_by_likeness():
    values = parse_images(["a.png", "b.png", "--model", "other", "--prompt", "a dog"])
    model, pictures = load_model(), world.render(pair(), SIZE)
    for changes in ({}, {"prompt": [""], "model": "demo", "negative_prompt": ""}):
        scorer = making_module.scorer_of(Job.of({**values, **changes}), model, lambda: None)
        assert scorer(pictures).tolist() == [0, 0]
        first, second = scorer.encoder(pictures)
        assert first @ first > 0.99 > first @ second
    for changes in ({"smoothness_weight": 0.0}, {"candidates": 1}):
        job = Job.of({**values, **changes})
        assert making_module.scorer_of(job, model, lambda: None) is None


def test_frames_differ_from_both_inputs_and_from_a_cross_fade(done):
    frames = pixels(done).astype(float)
    fade = (frames[0] + frames[-1]) / 2
    for other in (frames[0], frames[-1], fade):
        assert np.abs(frames[2] - other).mean() > 3


def test_the_same_seed_gives_the_same_bits_and_another_does_not(done, tmp_path):
    assert main(command(tmp_path)) == 0
    assert np.array_equal(pixels(tmp_path / "out"), pixels(done))
    assert main(command(tmp_path, "--seed", "1", out=tmp_path / "other")) == 0
    assert not np.array_equal(pixels(tmp_path / "other")[2], pixels(done)[2])


def test_a_joint_that_one_picture_lacks_is_dropped_or_filled_in(tmp_path):
    def hide(data: list) -> None:
        data[0]["people"][0]["pose_keypoints_2d"][3 * 4 + 2] = 0.0
        data[0]["people"][0].pop("pose_keypoint_scores")

    poses = [_pose(tmp_path, hide), write_pair(tmp_path / "inputs")[1][1]]
    short = [*SHORTEST, "--pose", *poses]
    ways = {"dropped": [], "filled": ["--fill-joints"], "all": ["--people", "all"]}
    for name, more in ways.items():
        assert main(command(tmp_path, *short, *more, out=tmp_path / name)) == 0
    dropped, filled, everyone = (pixels(tmp_path / name)[1] for name in ways)
    assert not np.array_equal(dropped, filled)
    assert np.array_equal(dropped, everyone)


def test_frames_do_not_depend_on_the_batch(done, tmp_path):
    """One candidate at a time, and all those of a depth at once."""
    assert main(command(tmp_path, "--max-batch", "1")) == 0
    folders = [tmp_path / "out", done]
    one, many = (record(folder)["frames"] for folder in folders)
    assert [f.get("candidate") for f in one] == [f.get("candidate") for f in many]
    model = load_model()
    for index in (1, 2, 3):
        name = f"latents/{index:03}.safetensors"
        latents = torch.stack([load_file(folder / name)["latent"] for folder in folders])
        first, second = model.decode(latents)
        assert (first - second).abs().max() < 1e-3


def test_a_finished_run_is_not_made_again(done):
    times = {file: file.stat().st_mtime_ns for file in (done / "latents").iterdir()}
    assert main(command(done.parent)) == 0
    assert times == {file: file.stat().st_mtime_ns for file in (done / "latents").iterdir()}
    facts = record(done)
    assert facts["frames_made_earlier"] == 3
    assert {"textual inversion", "frames"} <= set(facts["seconds"]), "of the run that made them"


def test_going_on_after_a_stop_gives_the_same_frames(done, tmp_path, monkeypatch, capsys):
    save = run_folder.RunFolder.save

    def save_once(self, frame):
        if frame.info.depth > 1:
            raise KeyboardInterrupt
        save(self, frame)

    monkeypatch.setattr(run_folder.RunFolder, "save", save_once)
    assert main(command(tmp_path)) == 130
    assert "interrupted; finished frames are kept" in capsys.readouterr().err
    assert len(list((tmp_path / "out" / "latents").iterdir())) == 1
    monkeypatch.undo()
    (tmp_path / "out" / "frames" / ".003.png.new").write_bytes(b"half a picture")
    learned = (tmp_path / "out" / "conditioning.safetensors").stat().st_mtime_ns
    assert main(command(tmp_path)) == 0
    assert (tmp_path / "out" / "conditioning.safetensors").stat().st_mtime_ns == learned
    assert record(tmp_path / "out")["frames_made_earlier"] == 1
    assert np.array_equal(pixels(tmp_path / "out"), pixels(done))


def test_a_stop_in_any_stage_can_be_gone_on_from(done, tmp_path, monkeypatch, capsys):
    """In each stage once: every command goes on from the stop before, and gets further."""
    stopped = []

    for stage in ("load_controlnet", "invert", "write_mp4", "write_page"):

        def stop(*_, stage=stage, **__):
            stopped.append(stage)
            raise KeyboardInterrupt

        place = diffusers_model if stage == "load_controlnet" else making_module
        with monkeypatch.context() as patch:
            patch.setattr(place, stage, stop)
            assert main(command(tmp_path)) == 130
        assert stopped.pop() == stage and not stopped
        assert "Traceback" not in capsys.readouterr().err
    assert main(command(tmp_path)) == 0
    assert np.array_equal(pixels(tmp_path / "out"), pixels(done))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal to send")
def test_ctrl_c_ends_with_one_line_and_keeps_what_is_finished(tmp_path):
    words = [sys.executable, "-m", "diffusion_interpolation.command.cli", *command(tmp_path)]
    words[words.index("--steps") + 1] = "40"

    def heed_interrupts() -> None:
        # a shell's background jobs are started deaf to them, and so would their children be
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    ) as process:
        latents = tmp_path / "out" / "latents"
        deadline = time.monotonic() + 120
        while not (latents.is_dir() and any(latents.glob("*.safetensors"))):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.strip().splitlines()[-1].endswith("the same command continues from them")
    assert any(latents.glob("*.safetensors"))


def test_room_that_ends_with_the_latents_is_said_too(done, tmp_path, monkeypatch, capsys):
    def no_room(file, content):
        if file.suffix == ".safetensors":
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        write_whole(file, content)

    monkeypatch.setattr(run_folder, "write_whole", no_room)
    assert main(command(tmp_path)) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "no space left to write" in said and "002.safetensors" in said
    monkeypatch.undo()
    assert main(command(tmp_path)) == 0
    assert np.array_equal(pixels(tmp_path / "out"), pixels(done))


def test_a_full_disk_is_said_in_one_line(tmp_path, capsys):
    """The kernel's limit on the size of a file stands in for a disk without room."""
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    words = command(tmp_path, *SHORTEST)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        status = main(words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert status == 1
    assert "out: no space left to write" in capsys.readouterr().err
    assert main(words) == 0, "with room again, the same command goes through"


def test_overwrite_replaces_a_run_and_nothing_else(done, tmp_path, capsys):
    out = tmp_path / "out"
    words = command(tmp_path, "--inversion-steps", "0", "--candidates", "2")
    assert main(words) == 0
    (out / "notes.txt").write_text("mine")
    changed = [*words, "--seed", "3"]
    assert main(changed) == 1
    assert "other settings (seed: 0 there, 3 now)" in capsys.readouterr().err
    (out / "candidates" / "003.jpg").write_bytes(b"of another run")
    assert main([*changed, "--overwrite", "--frames", "3"]) == 0
    assert [file.name for file in (out / "candidates").iterdir()] == ["1.jpg".zfill(7)]
    assert record(out)["settings"]["seed"] == 3
    assert (out / "notes.txt").read_text() == "mine"
    made = {file: file.stat().st_mtime_ns for file in (out / "latents").iterdir()}
    assert main([*changed, "--overwrite", "--frames", "3"]) == 0
    assert made == {file: file.stat().st_mtime_ns for file in (out / "latents").iterdir()}, (
        "the same command goes on, as after a stop"
    )


def test_a_chain_and_other_numbers_of_frames(tmp_path):
    (first, second), _ = write_pair(tmp_path)
    words = [first, second, first, "--out", tmp_path / "out", "--frames", 8, "--steps", 4]
    words += ["--inversion-steps", 0, "--candidates", 1]
    assert main([str(word) for word in words]) == 0
    facts = record(tmp_path / "out")["frames"]
    assert [frame["index"] for frame in facts if not frame["parents"]] == [0, 4, 7]
    assert facts[5]["position"] == pytest.approx(4 / 3)


def test_pictures_of_another_size_are_fitted_and_that_is_said(tmp_path, caplog):
    (first, second), _ = write_pair(tmp_path)
    wide = Image.open(second).resize((256, 192))
    wide.save(tmp_path / "wide.jpg")
    words = [first, tmp_path / "wide.jpg", "--out", tmp_path / "out", *QUICK, *SHORTEST]
    with caplog.at_level("INFO"):
        assert main([str(word) for word in words]) == 0
    assert "wide.jpg: 256 x 192 is resized to 128 x 128 (--fit cover)" in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such name")
def test_a_folder_named_after_the_time_of_day(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = command(tmp_path, *SHORTEST, out=Path("12:30"))
    assert main(words) == 0
    assert record(tmp_path / "12:30")["finished"]
    assert (tmp_path / "12:30" / "path.mp4").stat().st_size > 1000


def test_names_of_other_alphabets_in_the_pipe_of_an_old_code_page(tmp_path):
    """As on Windows, where what is printed into a pipe must fit in it."""
    pictures, _ = write_pair(tmp_path / "inputs")
    words = [*pictures, "--out", tmp_path / "日本", *QUICK, *SHORTEST]
    done = subprocess.run(
        [sys.executable, "-m", "diffusion_interpolation.command.cli", *map(str, words)],
        env={**os.environ, "PYTHONIOENCODING": "cp1252:strict"},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert b"3 frames in" in done.stdout and b"\\u65e5" in done.stdout
    # no terminal, so no bars: a line for each stage
    assert b"\r" not in done.stderr and b"%" not in done.stderr
    assert re.search(rb"^frames: \d+\.\d s$", done.stderr, re.MULTILINE)


@pytest.mark.skipif(sys.platform != "linux", reason="others allow only Unicode in names")
def test_names_that_are_not_unicode(tmp_path, capsys):
    """Of pictures they are fine; a folder of such a name is refused before anything is made."""
    pictures, _ = write_pair(tmp_path / "inputs")
    odd = pictures[0].with_name(os.fsdecode(b"f\xe4.png"))
    pictures[0].rename(odd)
    words = [odd, pictures[1], *QUICK, *SHORTEST, "--out"]
    assert main([*map(str, words), str(tmp_path / "out")]) == 0
    assert "f? → second" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert main([*map(str, words), str(tmp_path / os.fsdecode(b"o\xe4"))]) == 1
    assert "is not Unicode" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"inputs", "out"}


def _pose(folder: Path, change) -> Path:
    """The first puppet's pose file, changed."""
    _, (file, _) = write_pair(folder / "inputs")
    data = json.loads(file.read_text())
    change(data)
    other = folder / "changed.json"
    other.write_text(json.dumps(data))
    return other


def _weights(folder: Path, change) -> Path:
    """A copy of the embedded model with changed weights of its denoiser."""
    import shutil

    shutil.copytree(weights_folder(), folder / "model")
    file = folder / "model" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})
    return folder / "model"


def _text(folder: Path, name: str) -> Path:
    (folder / name).write_text("no picture, no weights")
    return folder / name


def _grey(folder: Path, size: tuple[int, int]) -> Path:
    Image.new("RGB", size, "grey").save(folder / "grey.png")
    return folder / "grey.png"


BAD_IMAGES = {
    "not an image": (lambda f: [_text(f, "a.png"), _text(f, "b.png")], "no picture"),
    "missing": (lambda f: [f / "a.png", f / "b.png"], "there is no file"),
    "a single one": (lambda f: [_grey(f, (SIZE, SIZE))], "images: got 1, needs at least 2"),
    "in the output folder": (
        lambda f: [*[_grey(f, (SIZE, SIZE))] * 2, "--out", f],
        "a file outside of the folder",
    ),
    "another size than the model's": (
        lambda f: [_grey(f, (512, 512))] * 2,
        "are 512 x 512, but the embedded models draw puppets of 128 x 128",
    ),
}
BAD_OPTIONS = {
    "denoise the wrong way round": (
        lambda f: ["--max-denoise", 0.3, "--min-denoise", 0.5],
        "min_denoise: got 0.5, needs max_denoise (0.3) or less",
    ),
    "too many prompts": (lambda f: ["--prompt", "a"] * 3, "prompt: got 3, needs 1 or as many"),
    "a long prompt": (lambda f: ["--prompt", "puppet " * 40], "prompt: has 42 tokens"),
    "too few poses": (lambda f: ["--pose", write_pair(f)[1][0]], "pose: got 1 for 2 images"),
    "a device that is none": (lambda f: ["--device", "toaster"], "device: toaster cannot be used"),
    "learning the wrong way round": (
        lambda f: ["--inversion-max-denoise", 0.2],
        "inversion_min_denoise: got 0.33, needs less than max_denoise (0.2)",
    ),
    "poses without a ControlNet for them": (
        lambda f: ["--model", "demo-flow", "--pose", *write_pair(f)[1]],
        "pose: got poses, but demo-flow has no ControlNet",
    ),
    "poses to be found without a detector": (
        lambda f: ["--model", "a", "--controlnet", "b", "--pose", "detect", "--detector-folder", f],
        "vitpose lacks config.json, preprocessor_config.json, model.safetensors, needs it from "
        "usyd-community/vitpose-base-simple on the Hugging Face Hub",
    ),
    "poses to be found without a ControlNet": (
        lambda f: ["--model", "a", "--pose", "detect"],
        "pose: got poses, but no --controlnet",
    ),
    "a ControlNet beside the embedded one": (lambda f: ["--controlnet", f], "controlnet: got"),
    "a long rerank prompt": (lambda f: ["--rerank-prompt", "puppet " * 40], "rerank prompt: has"),
    "no people": (
        lambda f: ["--pose", *[_pose(f, lambda d: d[0].update(people=[]))] * 2],
        "no person",
    ),
    "too few points": (
        lambda f: [
            "--pose",
            *[_pose(f, lambda d: d[0]["people"][0]["pose_keypoints_2d"].pop())] * 2,
        ],
        "needs 54",
    ),
    "a file that is no pose": (lambda f: ["--pose", *[_text(f, "p.json")] * 2], "p.json"),
    "no such model": (lambda f: ["--model", f / "none"], "there is no folder"),
    "a hub id": (lambda f: ["--model", "someone/some-model"], "--allow-download"),
    "weights that are no safetensors": (
        lambda f: ["--model", _text(f, "model.safetensors"), "--config", weights_folder()],
        "model.safetensors cannot be read",
    ),
    "a pickle": (lambda f: ["--model", _text(f, "model.ckpt")], "is a file, needs a folder"),
    "a single file without configuration": (
        lambda f: ["--model", _text(f, "model.safetensors")],
        "config: got none",
    ),
    "weights that lack keys": (
        lambda f: ["--model", _weights(f, lambda t: t.pop("conv_in.weight"))],
        "lacks the weights conv_in.weight",
    ),
    "weights that hold NaN": (
        lambda f: ["--model", _weights(f, lambda t: t["conv_in.weight"].fill_(float("nan")))],
        "unet: conv_in.weight holds NaN",
    ),
    "a reranker that is none": (lambda f: ["--reranker", f], "is not a folder with a CLIP"),
    "an output that is a file": (lambda f: ["--out", _text(f, "out.txt")], "is a file"),
}


def _fails(words: list[object], capsys) -> str:
    """What the command says, once it has failed as it should."""
    status = main([str(word) for word in words])
    said = capsys.readouterr().err
    assert status == 1 and "Traceback" not in said
    return said.strip().splitlines()[-1]


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_bad_images_get_one_clear_line(case, tmp_path, capsys):
    make, words = BAD_IMAGES[case]
    assert words in _fails(["--out", tmp_path / "run", *make(tmp_path)], capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_get_one_clear_line(case, tmp_path, capsys):
    make, words = BAD_OPTIONS[case]
    inputs, _ = write_pair(tmp_path / "good")
    options = ["--out", tmp_path / "run", "--inversion-steps", 0, *make(tmp_path)]
    assert words in _fails([*inputs, *options], capsys)


def test_a_model_whose_sides_do_not_fit_names_the_option(tmp_path, capsys):
    model = _weights(tmp_path, lambda tensors: None)
    words = [*[_grey(tmp_path, (136, 128))] * 2, "--model", model, "--out", tmp_path / "run"]
    said = _fails(words, capsys)
    assert "got 136 x 128 pixels, both sides must be multiples of 32; --size" in said


def test_a_failed_start_does_not_lock_the_folder(tmp_path, capsys):
    inputs, _ = write_pair(tmp_path / "good")
    words = [*inputs, "--out", tmp_path / "run", *QUICK, *SHORTEST]
    _fails([*words, "--prompt", "puppet " * 40], capsys)
    assert main([str(word) for word in words]) == 0


def test_poses_move_with_pictures_that_are_cut(tmp_path):
    """A wide picture loses its sides; the pose of what is left is that of the square one."""
    (first, second), (pose, other) = write_pair(tmp_path / "in")
    wide = Image.new("RGB", (256, 128))
    wide.paste(Image.open(second), (64, 0))
    wide.save(tmp_path / "wide.png")
    data = json.loads(other.read_text())
    person = data[0]["people"][0]
    person["pose_keypoints_2d"] = [
        value + 64 if index % 3 == 0 else value
        for index, value in enumerate(person["pose_keypoints_2d"])
    ]
    data[0]["canvas_width"] = 256
    (tmp_path / "wide.json").write_text(json.dumps(data))
    words = ["--size", "128x128", *QUICK, *SHORTEST, "--pose", pose]
    for name, picture, last in (("a", second, other), ("b", "wide.png", "wide.json")):
        line = [first, tmp_path / picture, "--out", tmp_path / name, *words, tmp_path / last]
        assert main([str(word) for word in line]) == 0
    difference = pixels(tmp_path / "a").astype(int) - pixels(tmp_path / "b")
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--size big", "size: got 'big', needs WIDTHxHEIGHT, such as 512x512"),
        ("--size 0x512", "size: got '0x512', needs WIDTHxHEIGHT, such as 512x512"),
        ("--frames 2", "frames: got 2, needs 3 or more"),
        ("--max-denoise 1.2", "max_denoise: got 1.2, needs 0.01 to 1.0"),
        ("--candidates 0", "candidates: got 0, needs 1 to 64"),
        ("--candidates some", "candidates: got 'some', needs a whole number"),
        ("--seed -1", f"seed: got -1, needs 0 to {2**63 - 1}"),
        (f"--seed {2**63}", f"seed: got {2**63}, needs 0 to {2**63 - 1}"),
        ("--fps 0", "fps: got 0.0, needs 0.01 to 1000.0"),
        ("--cfg inf", "cfg: got inf, needs 1.0 to 100.0"),
        ("--inversion-learning-rate 0", "inversion_learning_rate: got 0.0, needs 1e-07 to 1.0"),
        ("--inversion-steps -1", "inversion_steps: got -1, needs 0 to 10000"),
        ("--inversion-draws 0", "inversion_draws: got 0, needs 1 to 64"),
        ("--steps 0", "steps: got 0, needs 2 to 1000"),
        ("--max-batch 0", "max_batch: got 0, needs 1 to 4096"),
        ("--blend cubic", "blend: got 'cubic', needs one of slerp, lerp, exact"),
        ("--dtype float8", "dtype: got 'float8', needs one of float32, float16, bfloat16"),
        ("--stepz 3", "--stepz: no such option; did you mean --steps?"),
        ("--levels 0.5 0.3", "--levels: no such option"),
    ],
)
def test_a_wrong_word_gets_one_clear_line(words, told, capsys):
    assert main(["a.png", "b.png", *words.split()]) == 2
    assert capsys.readouterr().err == f"diffusion-interpolation: {told}\n"


def test_the_demo_has_embedded_models_alone(capsys):
    assert main(["demo", "--model", "other"]) == 2
    assert "model: got 'other', needs one of demo, demo-flow" in capsys.readouterr().err


def test_a_run_needs_no_name_for_its_folder():
    assert parse_images(["a/one.png", "b.png", "two.jpg"])["out"] == Path("one-to-two")
    assert parse_images(["one.png", "two.png", "--out", "here"])["out"] == Path("here")


def test_defaults_are_those_of_the_model():
    for words in (["--model", "demo-flow"], ["--model=demo-flow"]):
        values = parse_images(["a.png", "b.png", *words, "--cfg", "3"])
        assert values["max_denoise"] == 0.55 and values["inversion_learning_rate"] == 0.25
        assert values["prompt"] == ["a puppet"] and values["cfg"] == 3.0
    values = parse_images(["a.png", "b.png", "--match", "--min-denoise", "0.2"])
    assert (values["max_denoise"], values["min_denoise"]) == (0.35, 0.2)
    values = parse_images(["a.png", "b.png", "--model", "other", "--prompt", "a", "--prompt", "b"])
    assert values["max_denoise"] == 0.55 and values["prompt"] == ["a", "b"]
    learning = Job.of(values).learning
    assert learning.cfg == 7.5 and learning.augmentations == 16


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"diffusion-interpolation {__version__}\n"


def test_help_needs_none_of_the_heavy_libraries():
    code = "import sys, diffusion_interpolation.command.cli as c\ntry: c.main(['--help'])\n"
    code += "except SystemExit: print(sorted({'torch', 'diffusers', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--allow-download" in done.stdout and done.stdout.strip().endswith("[]")
