"""Where nodes and what they show stand on the screen."""

from __future__ import annotations

from comfy_host import Node
from comfy_view import View


def boxes(view: View, node: Node | str) -> tuple[dict[str, float], dict[str, float]]:
    """The preview and its node on the screen, left, top, right, bottom."""
    view.settle(10)
    inner = view.preview(node).bounding_box()
    outer = view.evaluate(
        """(id) => {
            const drawn = document.querySelector(`[data-node-id="${id}"]`);
            if (drawn) return drawn.getBoundingClientRect().toJSON();
            const { pos, size } = find(id), { ds, canvas } = app.canvas;
            const corner = canvas.getBoundingClientRect();
            return {
                x: (pos[0] + ds.offset[0]) * ds.scale + corner.x,
                y: (pos[1] + ds.offset[1]) * ds.scale + corner.y,
                width: size[0] * ds.scale, height: size[1] * ds.scale,
            };
        }""",
        str(getattr(node, "id", node)),
    )
    return inner, outer


def stands_inside(inner: dict[str, float], outer: dict[str, float]) -> bool:
    near = 1  # pixel
    return (
        inner["x"] >= outer["x"] - near
        and inner["y"] >= outer["y"] - near
        and inner["x"] + inner["width"] <= outer["x"] + outer["width"] + near
        and inner["y"] + inner["height"] <= outer["y"] + outer["height"] + near
    )


def drag_corner(view: View, box: dict[str, float], x: float, y: float) -> None:
    """Resize a node by its lower right corner."""
    corner = box["x"] + box["width"] - 3, box["y"] + box["height"] - 3
    view.page.mouse.move(*corner)
    view.page.mouse.down()
    view.page.mouse.move(corner[0] + x, corner[1] + y, steps=4)
    view.page.mouse.up()


def on_title(view: View, node: Node | str) -> tuple[float, float]:
    """A place on the page in the title of a node."""
    return tuple(
        view.evaluate(
            """(id) => {
                const { pos } = find(id), { ds, canvas } = app.canvas;
                const corner = canvas.getBoundingClientRect();
                return [(pos[0] + ds.offset[0]) * ds.scale + corner.x + 150,
                        (pos[1] + ds.offset[1] - 12) * ds.scale + corner.y];
            }""",
            str(getattr(node, "id", node)),
        )
    )
