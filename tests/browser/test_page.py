"""The written page in a real browser: opened from the disk, used with the mouse and with keys."""

from __future__ import annotations

import colorsys
import io
from contextlib import contextmanager

import pytest
from PIL import Image
from screen import bar_is_seen

from diffusion_interpolation.command.page import write_page
from diffusion_interpolation.method.frame_info import FrameInfo, planned
from diffusion_interpolation.method.path import Path

FRAMES = 17
COLORS = [
    tuple(round(255 * part) for part in colorsys.hsv_to_rgb(0.8 * n / (FRAMES - 1), 1, 0.9))
    for n in range(FRAMES)
]
LONGEST_WAIT = 20_000  # ms; machines that test are busy


def picture(color, size=256):
    stream = io.BytesIO()
    Image.new("RGB", (size, size), color).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page of pictures; at its end there must be no complaint in the console."""

    @contextmanager
    def opened(pictures, *, context=None, **options):
        file = tmp_path / "index.html"
        write_page(file, pictures, "Seventeen colours", **options)
        view = browser.new_context(viewport={"width": 1000, "height": 900}, **context or {})
        view.set_default_timeout(LONGEST_WAIT)
        page, complaints, requests = view.new_page(), [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        yield page
        view.close()
        assert complaints == []
        fetched = [url for url in requests if not url.startswith("data:")]
        assert fetched == [file.as_uri()]

    return opened


@pytest.fixture
def page(opened):
    with opened([picture(color) for color in COLORS]) as page:
        wait_for(page, 0)
        yield page


def distance(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def seen(page, selector=".di-now canvas"):
    """The frame whose colour is in the middle of the picture on the screen, or None."""
    box = page.locator(selector).bounding_box()
    middle = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    shot = page.screenshot(clip={**middle, "width": 4, "height": 4})
    color = Image.open(io.BytesIO(shot)).convert("RGB").getpixel((1, 1))
    near = [n for n, wanted in enumerate(COLORS) if distance(color, wanted) <= 3]
    return near[0] if near else None


def wait_for(page, index, count=FRAMES):
    """Wait until frame `index` is on the screen and said to be."""
    page.wait_for_function(
        "text => document.querySelector('.di-range').getAttribute('aria-valuetext')"
        "?.startsWith(text)"
        " && getComputedStyle(document.querySelector('.di-message')).display === 'none'",
        arg=f"Frame {index + 1} of {count},",
    )
    assert seen(page) == index


def test_dragging_the_slider_shows_each_frame(page):
    box = page.locator(".di-range").bounding_box()
    y, thumb = box["y"] + box["height"] / 2, 20
    page.mouse.move(box["x"] + thumb / 2, y)
    page.mouse.down()
    for index in range(FRAMES):
        share = index / (FRAMES - 1)
        page.mouse.move(box["x"] + thumb / 2 + share * (box["width"] - thumb), y)
        wait_for(page, index)
    page.mouse.up()


def test_dragging_the_picture_moves_through_the_frames(page):
    box = page.locator(".di-now canvas").bounding_box()
    x, y = box["x"] + 5, box["y"] + 5
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 2, y)
    wait_for(page, 8)
    page.mouse.move(x, y)
    wait_for(page, 0)
    page.mouse.move(x + 2 * box["width"], y)
    wait_for(page, 16)
    page.mouse.up()
    page.keyboard.press("ArrowDown")
    wait_for(page, 15)


def test_keys(page):
    """Left and right work at once; the others when the slider has the focus."""
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    wait_for(page, 2)
    page.keyboard.press("End")
    wait_for(page, 2)
    page.locator(".di-range").focus()
    for key, index in [("End", 16), ("ArrowLeft", 15), ("PageDown", 13), ("Home", 0)]:
        page.keyboard.press(key)
        wait_for(page, index)


def test_the_wheel_moves_a_frame_a_notch_and_lets_go_at_the_end(page):
    page.locator(".di-now canvas").hover()
    for index in (1, 2, 3):
        page.mouse.wheel(0, 120)
        wait_for(page, index)
    page.mouse.wheel(0, -120 * 3)
    wait_for(page, 0)
    assert page.evaluate("scrollY") == 0


def test_forced_colours_leave_the_bar_to_be_seen(opened):
    context = {"forced_colors": "active"}
    with opened([picture(color) for color in COLORS], context=context) as page:
        page.locator(".di-range").fill("8")
        wait_for(page, 8)
        assert bar_is_seen(page.locator(".di-range"))


def test_playing_goes_to_the_end_and_back(page):
    page.get_by_label("Speed").select_option("60")
    page.evaluate(
        """() => {
          window.shown = [];
          document.addEventListener("di-frame", (event) => shown.push(event.detail.index));
        }"""
    )
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("() => shown.includes(16) && shown.indexOf(0, shown.indexOf(16)) > 0")
    page.get_by_role("button", name="Pause").click()
    page.keyboard.press("ArrowRight")
    index = page.evaluate("() => shown.at(-1)")
    wait_for(page, index)
    page.wait_for_timeout(100)
    wait_for(page, index)


def test_space_plays_and_a_loop_starts_again(page):
    page.get_by_label("Speed").select_option("60")
    page.get_by_label("Repeat").select_option("loop")
    page.locator(".di-range").focus()
    page.keyboard.press("End")
    page.keyboard.press("Space")
    page.wait_for_function("() => Number(document.querySelector('.di-range').value) < 8")
    page.keyboard.press("Space")
    assert page.get_by_role("button", name="Play").is_visible()


def test_taking_the_slider_stops_playback(page):
    page.keyboard.press("Space")
    page.get_by_role("button", name="Pause").wait_for()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("button", name="Play").is_visible()


def test_after_a_click_on_a_button_space_plays(page):
    compare = page.get_by_role("button", name="Compare")
    compare.click()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Pause").wait_for()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Play").wait_for()
    assert compare.get_attribute("aria-pressed") == "true"
    compare.focus()
    page.keyboard.press("Space")
    assert compare.get_attribute("aria-pressed") == "false", "whoever goes there by keys means it"


@pytest.mark.parametrize("size", [(1000, 900), (1000, 500), (390, 500)])
def test_comparing_the_frame_stays_the_largest(page, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.get_by_role("button", name="Compare").click()
    page.locator(".di-end").first.wait_for()
    widths = [page.locator(f"{place} canvas").first.bounding_box()["width"] for place in SIZED]
    assert 0 < widths[1] <= widths[0] / 2 + 1


SIZED = (".di-now", ".di-end")


def test_comparing_shows_the_keyframes_around(opened):
    frames = planned(Path((7, 7)))
    with opened([picture(color) for color in COLORS], frames=frames) as page:
        page.get_by_role("button", name="Compare").click()
        for index, ends in [(0, (0, 8)), (7, (0, 8)), (8, (8, 16)), (16, (8, 16))]:
            page.locator(".di-range").fill(str(index))
            wait_for(page, index)
            sides = [".di-end:first-child canvas", ".di-end:last-child canvas"]
            assert tuple(seen(page, side) for side in sides) == ends
        assert page.locator(".di-end figcaption").all_inner_texts() == ["Keyframe 2", "Keyframe 3"]


@pytest.fixture
def choosing(opened):
    """A page of three frames, whose middle one was chosen among three candidates of its own."""
    middle = FrameInfo(1, 0.5, 1, (0, 2), 0, 3, (0.5, -1.5, 1.0), candidate=2)
    frames = [FrameInfo(0, 0.0), middle, FrameInfo(2, 1.0)]
    strip = Image.new("RGB", (3 * 64, 64))
    for place, color in enumerate((COLORS[4], COLORS[6], COLORS[8])):
        strip.paste(color, (64 * place, 0, 64 * place + 64, 64))
    stream = io.BytesIO()
    strip.save(stream, "PNG")
    pictures = [picture(COLORS[n]) for n in (0, 8, 16)]
    with opened(pictures, frames=frames, strips=[None, stream.getvalue(), None]) as page:
        wait_for(page, 0, count=3)
        yield page


def test_the_candidates_of_a_frame_are_shown_with_scores(choosing):
    title = choosing.locator(".di-strip-title")
    assert title.inner_text() == "Frame 1 · keyframe"
    choosing.keyboard.press("ArrowRight")
    choosing.get_by_text("Frame 2 · depth 1 · ✓ best score").wait_for()
    thumbnails = choosing.locator(".di-candidate")
    assert thumbnails.all_inner_texts() == ["+0.5000", "-1.5000", "+1.0000"]
    marks = thumbnails.evaluate_all("all => all.map((one) => one.ariaCurrent)")
    assert marks == ["false", "false", "true"]
    choosing.wait_for_function(
        "getComputedStyle(document.querySelector('.di-thumbnail'))"
        ".backgroundImage.startsWith('url')"
    )
    assert [seen(choosing, f".di-candidate:nth-child({n}) .di-thumbnail") for n in (1, 2, 3)] == [
        4,
        6,
        8,
    ]
    assert choosing.get_by_role("button", name="New noise").count() == 0
    choosing.keyboard.press("ArrowRight")
    choosing.get_by_text("Frame 3 · keyframe").wait_for()


def test_a_candidate_is_looked_at_in_place_of_its_frame(choosing):
    choosing.keyboard.press("ArrowRight")
    box = choosing.locator(".di-candidate").first.bounding_box()
    choosing.mouse.move(box["x"] + 5, box["y"] + 5)
    choosing.mouse.move(box["x"] + 15, box["y"] + 15)
    choosing.wait_for_timeout(100)
    assert seen(choosing) == 4
    choosing.mouse.move(5, 5)
    choosing.wait_for_timeout(100)
    assert seen(choosing) == 8
    choosing.locator(".di-candidate").nth(1).dispatch_event("click")
    choosing.wait_for_timeout(100)
    assert seen(choosing) == 6, "a finger has nothing to hover with"
    choosing.keyboard.press("ArrowLeft")
    wait_for(choosing, 0, count=3)


def test_more_frames_than_fit_in_memory_decoded_are_shown_all_the_same(opened):
    with opened([picture(color, 2400) for color in COLORS]) as page:
        page.locator(".di-range").focus()
        for key, index in [("End", 16), ("ArrowLeft", 15), ("Home", 0)]:
            page.keyboard.press(key)
            wait_for(page, index)


def test_a_broken_picture_is_said_and_the_others_are_shown(opened):
    broken = picture(COLORS[1])[:40]
    with opened([picture(COLORS[0]), broken, picture(COLORS[2])]) as page:
        page.keyboard.press("ArrowRight")
        page.get_by_text("Frame 2 could not be loaded").wait_for()
        assert seen(page) is None
        page.keyboard.press("ArrowRight")
        wait_for(page, 2, count=3)


def test_a_single_picture_has_nothing_to_drag(opened):
    with opened([picture(COLORS[0])]) as page:
        wait_for(page, 0, count=1)
        assert page.locator(".di-range").is_disabled()
        assert page.get_by_role("button", name="Play").is_disabled()


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_autoplay_heeds_the_wish_for_less_motion(opened, motion):
    context = {"reduced_motion": motion}
    pictures = [picture(color) for color in COLORS]
    with opened(pictures, context=context, autoplay=True) as page:
        page.wait_for_timeout(700)
        name = "Play" if motion == "reduce" else "Pause"
        assert page.get_by_role("button", name=name).is_visible()
        assert (page.locator(".di-range").input_value() == "0") == (motion == "reduce")


@pytest.mark.parametrize("width", [320, 390, 800])
def test_a_narrow_page_does_not_scroll_sideways(opened, width):
    settings = {"Prompt": "long " * 60, "File": "x" * 200}
    with opened([picture(color) for color in COLORS], settings=settings) as page:
        page.set_viewport_size({"width": width, "height": 800})
        page.get_by_role("button", name="Compare").click()
        assert page.evaluate("document.documentElement.scrollWidth") == width


# The component on its own, through the class that the page's script holds


@pytest.fixture
def bench(browser, tmp_path):
    """An empty page with `pictures` (URLs), `placed(urls)` and `make(options)` in its window.

    `placed` gives pictures as a `FrameSlider` takes them, evenly spaced.
    """
    from diffusion_interpolation.command import page as pages

    urls = [pages._data_url(picture(color), 0, False) for color in COLORS]
    script = pages._script().replace(pages._START, "")
    file = tmp_path / "bench.html"
    file.write_text(
        f"<!doctype html><script type=module>{script}\n"
        f"window.pictures = {urls};\n"
        "window.placed = (urls) => [urls.map((_, i) => ({ position: i / urls.length })), urls];\n"
        "window.make = ({ urls: given = [], ...options }) => {\n"
        "  const [frames, urls] = placed(given);\n"
        "  const slider = new FrameSlider({ frames, urls, ...options });\n"
        "  slider.element.style.setProperty('--di-height', '300px');\n"
        "  document.body.append(slider.element);\n"
        "  return (window.slider = slider);\n"
        "};</script>"
    )
    complaints = []
    page = browser.new_page()
    page.set_default_timeout(LONGEST_WAIT)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    yield page
    page.close()
    assert complaints == []


def test_frames_are_slotted_in_while_in_use(bench):
    bench.evaluate("make({}) && undefined")
    bench.get_by_text("No frames yet").wait_for()
    bench.evaluate("slider.setFrames(...placed([pictures[0], null, null, null, pictures[16]]))")
    bench.evaluate("slider.show(3)")
    bench.get_by_text("Frame 4 is yet to come").wait_for()
    assert seen(bench) == 16, "the nearest frame stands in"
    bench.evaluate("slider.setFrame(3, pictures[12])")
    bench.wait_for_function("() => document.querySelector('.di-message').textContent === ''")
    assert seen(bench) == 12
    bench.evaluate("slider.setFrame(3, null)")
    bench.get_by_text("Frame 4 is yet to come").wait_for()
    bench.evaluate("slider.setFrames(...placed(pictures.slice(0, 2)))")
    wait_for(bench, 1, count=2)


def test_another_number_of_frames_keeps_the_place_and_the_speed(bench):
    bench.evaluate("make({ urls: pictures.slice(0, 16) }) && undefined")
    bench.get_by_label("Speed").select_option("24")
    bench.evaluate("slider.show(12)")
    wait_for(bench, 12, count=16)
    for count, index in ((4, 3), (8, 6)):
        bench.evaluate("(count) => slider.setFrames(...placed(pictures.slice(0, count)))", count)
        wait_for(bench, index, count=count)
        assert bench.get_by_label("Speed").input_value() == "24"
    assert bench.evaluate("slider.playback.fps") == 24


def test_a_speed_that_nobody_chose_suits_the_number_of_frames(bench):
    bench.evaluate("make({ urls: pictures.slice(0, 16) }) && undefined")
    assert bench.get_by_label("Speed").input_value() == "8"
    bench.evaluate("slider.setFrames(...placed(pictures.slice(0, 5)))")
    assert bench.get_by_label("Speed").input_value() == "2"


def test_a_changed_picture_does_not_flicker(bench):
    """The old picture stays until the new one is decoded."""
    bench.evaluate("make({ urls: pictures }) && undefined")
    wait_for(bench, 0)
    colors = bench.evaluate(
        """async () => {
          const canvas = document.querySelector(".di-now canvas");
          const copy = new OffscreenCanvas(9, 9).getContext("2d", { willReadFrequently: true });
          const seen = new Set();
          for (let tick = 0; tick < 60; tick += 1) {
            slider.setFrame(0, pictures[tick % 2 ? 8 : 0]);
            await new Promise(requestAnimationFrame);
            copy.drawImage(canvas, 0, 0);
            seen.add(copy.getImageData(5, 5, 1, 1).data.join());
          }
          return [...seen];
        }"""
    )
    allowed = {",".join(map(str, (*COLORS[n], 255))) for n in (0, 8)}
    assert set(colors) <= allowed


def test_bad_places_and_numbers_of_frames_are_refused(bench):
    bench.evaluate("make({ urls: pictures }) && undefined")
    caught = "(call) => { try { call() } catch (error) { return error.message } }"
    assert "got 17, there are 17" in bench.evaluate(f"({caught})(() => slider.setFrame(17, null))")
    assert "got 17, needs one for each of 1 frames" in bench.evaluate(
        f"({caught})(() => slider.setFrames([{{ position: 0 }}], pictures))"
    )


def test_a_destroyed_slider_is_silent(bench):
    bench.evaluate("make({ urls: pictures, pageKeys: true }) && undefined")
    wait_for(bench, 0)
    bench.evaluate("slider.play(); slider.setFrame(5, pictures[6]); slider.destroy()")
    assert bench.locator(".di-slider").count() == 0
    bench.keyboard.press("ArrowRight")
    index = bench.evaluate("slider.index")
    bench.wait_for_timeout(400)
    assert bench.evaluate("[slider.index, slider.playing]") == [index, False]


def test_two_sliders_mind_their_own_keys(bench):
    bench.evaluate("make({ urls: pictures }) && make({ urls: pictures }) && undefined")
    bench.locator(".di-range").nth(1).focus()
    bench.keyboard.press("End")
    values = bench.locator(".di-range").evaluate_all("all => all.map((range) => range.value)")
    assert values == ["0", "16"]
    assert bench.locator("#di-slider-style").count() == 1
