"""What somebody does who opens ComfyUI to go from one picture to another."""

from __future__ import annotations

import numpy as np
from comfy_view import View
from PIL import Image

from diffusion_interpolation.demo.networks import SIZE
from diffusion_interpolation.demo.pair import pair
from diffusion_interpolation.demo.world import render

_BUILD = """(pictures) => {
    app.graph.clear();
    let x = 0;
    const put = (kind, values = {}) => {
        const node = LiteGraph.createNode(kind);
        node.pos = [x, 0];
        x += node.size[0] + 40;
        app.graph.add(node);
        for (const widget of node.widgets ?? [])
            if (widget.name in values) widget.value = values[widget.name];
        return node;
    };
    const wire = (from, output, to, name) =>
        from.connect(output, to, to.findInputSlot(name));
    const demo = put("PuppetDemo");
    const [first, last] = pictures.map((image) => put("LoadImage", { image }));
    const [positive, negative] = ["a puppet", "a double exposure"].map((text) =>
        put("CLIPTextEncode", { text }));
    const path = put("FrameBisector", { frames_per_gap: "3" });
    wire(demo, 0, path, "model");
    wire(demo, 2, path, "vae");
    for (const text of [positive, negative]) wire(demo, 1, text, "clip");
    wire(positive, 0, path, "positive");
    wire(negative, 0, path, "negative");
    wire(first, 0, path, "first");
    wire(last, 0, path, "last");
    const made = JSON.parse(JSON.stringify(app.graph.serialize()));
    return [String(path.id), { ...made, id: crypto.randomUUID() }];
}"""
"""From an empty graph, with the values that new nodes have, but for the number of frames."""


def two_photographs(view: View) -> list[str]:
    """Two puppets, of which the second is larger, and of no size that the VAE takes."""
    pictures = [
        Image.fromarray((one.movedim(0, -1) * 255).byte().numpy()) for one in render(pair(), SIZE)
    ]
    pictures[1] = pictures[1].resize((190, 190), Image.Resampling.LANCZOS)
    return [view.server.upload(one, f"morph_{i}.png") for i, one in enumerate(pictures)]


def first_morph(view: View) -> str:
    """Put the graph on the screen; the id of its Frame Bisector."""
    node, workflow = view.evaluate(_BUILD, two_photographs(view))
    view.load(workflow)
    view.show(node)
    return node


def values(view: View, node: str, *names: str) -> list[object]:
    return view.evaluate(
        """([id, names]) => names.map((name) =>
            find(id).widgets.find((widget) => widget.name === name).value)""",
        [node, names],
    )


def test_first_frames_from_an_empty_graph(view: View):
    # a new node gets the inputs of an earlier test's node of the same number
    view.reload()
    node = first_morph(view)
    workflow = view.workflow()
    assert len(workflow["nodes"]) <= 6 and len(workflow["links"]) <= 8
    assert values(view, node, "preset", "cfg", "scheduler") == ["balanced", 7.5, "ddim_uniform"]
    outcome = view.run()
    assert outcome["status"]["status_str"] == "success"
    view.wait_for_frame(node, 0, 5)
    said = view.preview(node).locator(".di-status-text")
    view.page.wait_for_function(
        "([status, text]) => status.textContent.includes(text)",
        arg=[said.element_handle(), "balanced for the embedded UNet: 20 steps, cfg 2"],
    )
    assert "The picture last was resized and cropped from 190 x 190 to 128 x" in said.inner_text()
    shown = [view.server.image(entry) for entry in outcome["outputs"][node]["frames"]]
    frames = np.stack([np.asarray(one, float) for one in shown])
    assert np.abs(np.diff(frames, axis=0)).mean((1, 2, 3)).min() > 0.5


def test_the_inputs_show_what_the_preset_decided_until_one_is_changed(view: View):
    node = first_morph(view)
    view.set_widget(node, "preset", "fast try")
    view.run()
    view.wait_for_frame(node, 0, 5)
    decided = "preset", "steps", "cfg", "candidates"
    assert values(view, node, *decided) == ["fast try", 10, 2, 1]
    view.set_widget(node, "seed", 5)
    assert values(view, node, "preset") == ["fast try"]
    view.set_widget(node, "steps", 4)
    assert values(view, node, *decided) == ["custom", 4, 2, 1]
    view.run()
    view.wait_for_frame(node, 0, 5)
    assert values(view, node, *decided) == ["custom", 4, 2, 1]


def test_a_loop_plays_as_one_and_has_its_first_keyframe_once(view: View):
    node = first_morph(view)
    view.set_widget(node, "preset", "fast try")
    view.set_widget(node, "loop", True)
    view.run()
    view.wait_for_frame(node, 0, 8)
    preview = view.preview(node)
    assert preview.get_by_label("Repeat").input_value() == "loop"
    assert preview.locator(".di-ticks i").count() == 2
    preview.get_by_text("Compare").click()
    view.bar(node).focus()
    view.page.keyboard.press("End")
    view.wait_for_frame(node, 7, 8)
    captions = preview.locator(".di-end figcaption")
    assert captions.all_inner_texts() == ["Keyframe 2", "Keyframe 1"]
