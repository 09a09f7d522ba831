"""What a person does on the page, in a real browser."""

from __future__ import annotations

import os
import re
import statistics
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from facemeld.data.folders import bundled_faces
from facemeld.networks.model_folder import bundled_models

FACES = {path.stem: path for path in bundled_faces()}


class Person:
    """Somebody with the page open, and a list of all that went over the network."""

    def __init__(self, page, address: str) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(60_000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.open(address)

    def open(self, address: str) -> None:
        self.page.goto(address)
        self.page.wait_for_selector("#source-examples button")
        self.page.wait_for_function("document.documentElement.dataset.ready")

    def upload(self, place: str, file: Path) -> None:
        self.page.set_input_files(f"#{place}-upload input[type=file]", str(file))

    def picture(self) -> str | None:
        """The address of the result, which holds all of it."""
        return self.page.evaluate("document.querySelector('#result img.after')?.src")

    def next_picture(self, last: str | None) -> str:
        self.page.wait_for_function(
            "last => { const now = document.querySelector('#result img.after')?.src;"
            " return now && now !== last; }",
            arg=last,
        )
        return self.picture()

    def press(self, slider: str, *keys: str) -> None:
        """Moves a slider with the keyboard."""
        handle = self.page.locator(f"#{slider} input[type=range]")
        handle.wait_for()  # what is hidden, as in a panel that still opens, takes no focus
        for key in keys:
            handle.press(key)  # with the focus on it, wherever that went in the meantime

    def open_panel(self, name: str) -> None:
        self.page.locator(f"#panel-{name} button").first.click()

    def open_tab(self, *names: str) -> None:
        for name in names:
            self.page.get_by_role("tab", name=name, exact=True).click()

    def choose(self, dropdown: str, number: int) -> None:
        """The option of this number, from 0."""
        self.page.locator(f"#{dropdown} input").click()
        self.page.get_by_role("option").nth(number).click()

    def saved(self, button: str, path: Path) -> Path:
        """What a button downloads."""
        with self.page.expect_download() as download:
            self.page.click(f"#{button}")
        download.value.save_as(path)
        return path

    def kept(self, path: Path) -> Image.Image:
        """The picture under the controls as they are, kept and downloaded."""
        before = self.page.locator("#kept-gallery button").count()
        self.page.click("button#fuse")
        self.page.wait_for_function(
            "n => document.querySelectorAll('#kept-gallery button').length > n", arg=before
        )
        with Image.open(self.saved("save", path)) as picture:
            return picture.copy()

    def says(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for()

    def fused(self) -> str:
        """A source and two references."""
        self.upload("source", FACES["woman_astronaut"])
        self.page.wait_for_selector("#source-seen img")
        picture = None
        for number, name in enumerate(("cat_chelsea", "wild_raccoon"), 1):
            self.upload("reference", FACES[name])
            self.page.wait_for_selector(f"#weight-{number}", state="visible")
            picture = self.next_picture(picture)
        return picture


@pytest.fixture
def person(browser, studio) -> Iterator[Person]:
    context = browser.new_context(
        locale="en-US", viewport={"width": 1440, "height": 900}, accept_downloads=True
    )
    person = Person(context.new_page(), studio.address)
    yield person
    context.close()
    assert person.errors == []
    hosts = {urlsplit(url).hostname for url in person.requests if url.startswith("http")}
    assert hosts == {"127.0.0.1"}


def test_two_clicks_make_a_picture(person: Person) -> None:
    person.says("consent")
    person.page.locator("#source-examples button").nth(10).click()
    person.page.locator("#reference-examples button").nth(6).click()
    person.next_picture(None)


def test_fuse_move_a_slider_keep_and_repeat(person: Person, tmp_path: Path) -> None:
    first = person.fused()
    person.press("strength", "PageDown", "PageDown", "PageDown")
    second = person.next_picture(first)
    person.press("weight-1", "Home")
    person.next_picture(second)
    person.page.click("button#fuse")
    person.page.wait_for_selector("#command .cm-line")
    kit = person.saved("save-kit", tmp_path / "kit.zip")
    assert {"fused.png", "settings.json", "command.txt"} <= set(zipfile.ZipFile(kit).namelist())
    last = person.picture()
    person.press("strength", "Home")
    before = person.next_picture(last)
    person.page.click("#again")
    assert person.next_picture(before) == last
    assert 0 < float(person.page.locator("#strength input[type=range]").input_value()) < 1


@pytest.mark.alone
def test_the_picture_follows_a_slider_while_it_moves(person: Person) -> None:
    last = person.fused()
    person.press("strength", "Home")
    for _ in range(3):  # caches are filled
        last = person.next_picture(last)
        person.press("strength", "PageUp")
    seconds = []
    for _ in range(7):
        last = person.next_picture(last)
        started = time.perf_counter()
        person.press("strength", "ArrowRight")
        person.next_picture(last)
        seconds.append(time.perf_counter() - started)
    person.press("strength", *["ArrowLeft"] * 30)  # faster than pictures are made: the last counts
    moved = person.page.locator("#strength input[type=range]").input_value()
    person.page.wait_for_timeout(500)
    person.page.click("button#fuse")
    person.page.wait_for_selector("#command .cm-line")
    assert f"--strength {moved} " in person.page.inner_text("#command .cm-content")
    if os.getloadavg()[0] > 2 * (os.cpu_count() or 1):
        pytest.skip("other work has this machine; how long a picture takes says nothing")
    assert statistics.median(seconds) < 0.5, seconds


def test_the_slider_between_source_and_result_follows_the_keyboard(person: Person) -> None:
    person.fused()
    slider = person.page.get_by_role("slider", name="Slide between source and result")
    slider.focus()
    person.page.keyboard.press("End")
    covered = person.page.evaluate(
        "getComputedStyle(document.querySelector('#result img.before')).clipPath"
    )
    assert re.fullmatch(r"inset\(0(px|%)?( 0(px|%)?)*\)|inset\(0px calc\(0%\) 0px 0px\)", covered)


def test_a_video_is_made_plays_and_is_gone_back_to(person: Person) -> None:
    person.fused()
    person.open_tab("Explore", "Video")
    person.press("video-seconds", "Home", "ArrowRight")
    person.page.locator("#video-loop input").uncheck()
    person.page.click("#video-make")
    person.page.wait_for_selector("video.film")
    person.page.wait_for_function("document.querySelector('video.film').currentTime > 0")
    command = person.page.inner_text("#command .cm-content")
    person.press("video-seconds", "End")
    person.page.locator("#video-loop input").check()
    person.open_tab("Fuse")
    person.page.click("#again")
    person.page.wait_for_selector("#video-make", state="visible")
    assert person.page.locator("#video-seconds input[type=range]").input_value() == "0.3"
    assert not person.page.locator("#video-loop input").is_checked()
    person.page.click("#video-make")
    person.page.wait_for_function("document.querySelectorAll('#kept-gallery button').length === 2")
    assert person.page.inner_text("#command .cm-content") == command


def test_what_a_video_leaves_out_is_told(person: Person) -> None:
    person.fused()
    person.open_panel("controls_shape")
    person.page.locator("#paste_back input").check()
    person.open_tab("Explore", "Video")
    person.press("video-seconds", "Home")
    person.page.click("#video-make")
    person.says("Left out here: Put the face back into the photograph.")
    person.page.wait_for_selector("video.film")


def test_a_job_is_stopped(person: Person) -> None:
    person.fused()
    person.open_tab("Explore", "Video")
    person.press("video-seconds", "End")
    person.page.click("#video-make")
    person.page.wait_for_selector("#video-status progress")
    person.page.click("#video-make-stop")
    person.says("Stopped.")
    person.open_tab("Fuse")
    last = person.picture()
    person.press("strength", "Home")
    person.next_picture(last)
    assert person.page.query_selector("video.film") is None
    assert person.page.query_selector("#video-status progress") is None


def test_a_job_that_waits_is_stopped(person: Person, browser, studio) -> None:
    person.fused()
    context = browser.new_context(locale="en-US")
    other = Person(context.new_page(), studio.address)
    other.fused()
    other.choose("size", 3)  # 1024 px: this takes a while
    other.open_tab("Explore", "Video")
    other.press("video-seconds", "End")
    other.page.click("#video-make")
    other.page.wait_for_selector("#video-status progress")
    shown = person.picture()
    with person.page.expect_response(lambda response: "/queue/join" in response.url):
        person.page.click("button#fuse")
    person.page.click("#fuse-stop")
    person.says("Stopped.")
    other.page.click("#video-make-stop")
    other.says("Stopped.")
    person.press("strength", "Home")  # is asked for after the stop
    person.next_picture(shown)
    assert person.page.locator("#kept-gallery button").count() == 0
    context.close()


def test_a_grid_is_saved_and_chosen_from(person: Person, tmp_path: Path) -> None:
    person.fused()
    person.choose("size", 0)  # the model's own
    person.open_tab("Explore")
    person.page.locator("#grid-rows").get_by_text("Source", exact=True).wait_for()
    person.page.click("#grid-make")
    person.page.wait_for_selector("#grid-save", state="visible")
    with Image.open(person.saved("grid-save", tmp_path / "grid.png")) as sheet:
        assert sheet.size == (3 * 256 + 4, 2 * 256 + 2)
        assert "trainedAlgorithmicMedia" in str(sheet.info)
    assert person.page.inner_text("#grid-status") == "Done: 2."
    person.page.locator("#grid button").nth(4).click()
    person.page.wait_for_selector("#command .cm-line")
    with Image.open(person.saved("save", tmp_path / "cell.png")) as cell:
        assert cell.size == (128, 128)


def test_variations_are_gone_on_with(person: Person) -> None:
    last = person.fused()
    person.open_tab("Explore", "Variations")
    person.press("variations-count", "Home")
    person.page.click("#variations-make")
    person.page.locator("#variations button").nth(1).click()
    person.says("Variation 2 is set in the Fuse tab.")
    person.next_picture(last)


def test_models_are_compared(person: Person) -> None:
    person.fused()
    person.open_tab("Compare")
    person.page.click("#compare-make")
    person.page.locator("#compared button").nth(1).click()
    person.page.wait_for_selector("#command .cm-line")
    assert " --model faces-64 " in person.page.inner_text("#command .cm-content")
    person.open_tab("About")
    for part in ("Licence", "Limits", "Training data"):
        person.page.get_by_role("heading", name=part).wait_for()


def test_the_dice_throws_a_random_look(person: Person) -> None:
    last = person.fused()
    person.open_panel("controls_latent")
    person.page.click("#dice")
    last = person.next_picture(last)
    assert person.page.locator("#latent input").is_checked()
    domains = ("anime", "cat", "dog", "man", "wild", "woman")
    assert person.page.locator("#domain input").input_value() in domains
    person.page.click("#dice")
    person.next_picture(last)
    assert person.page.query_selector("[data-testid=toast-body]") is None


def test_faces_are_corrected_and_put_back(person: Person) -> None:
    found = person.fused()
    seen = person.page.get_attribute("#source-seen img", "src")
    person.open_panel("adjust")
    person.press("adjust-across", "PageUp")
    person.next_picture(found)
    assert person.page.get_attribute("#source-seen img", "src") != seen
    person.page.click("#adjust-reset")
    person.page.wait_for_function(
        "found => document.querySelector('#result img.after').src === found", arg=found
    )


def test_a_text_file_named_png_is_told_in_a_sentence(person: Person, tmp_path: Path) -> None:
    text = tmp_path / "letter.png"
    text.write_text("Dear machine, this is no picture.")
    person.upload("source", text)
    person.says("This is not a picture that can be read")
    person.page.wait_for_selector("#source-upload img", state="detached")
    assert "Traceback" not in person.page.content()
    assert person.page.get_attribute("[data-testid=toast-body]", "role") == "alert"
    person.fused()


def test_results_are_read_out(person: Person) -> None:
    person.fused()
    line = person.page.locator("#status [role=status]")
    assert "256 px, made in" in line.inner_text()
    person.page.click("button#fuse")
    person.page.wait_for_selector("#command .cm-line")
    assert "Kept below" in line.inner_text()


def test_each_reference_has_its_own_button_to_take_it_away(person: Person) -> None:
    last = person.fused()
    person.page.get_by_role("button", name="Remove cat_chelsea").click()
    person.next_picture(last)
    names = person.page.locator(".slot:visible .remove").all_inner_texts()
    assert names == ["Remove wild_raccoon"]


def test_another_language_changes_every_label(person: Person, tmp_path: Path) -> None:
    person.fused()
    person.page.get_by_text("繁體中文").click()
    person.says("結果皆為人工合成")
    person.page.wait_for_function("document.documentElement.lang === 'zh-Hant'")
    names = person.page.locator("label, button, legend, h2, [role=tab]").all_inner_texts()
    names = [re.sub(r"cat_chelsea|wild_raccoon|zip|JSON", "", name) for name in names]
    left = {name.strip() for name in names if re.search(r"[A-Za-z]{3}", name)}
    assert left <= {"English", "anime", "cat", "dog", "man", "wild", "woman", *bundled_models()}
    letter = tmp_path / "letter.png"
    letter.write_text("no picture")
    person.upload("reference", letter)
    person.says("這不是可讀取的圖片")
    person.page.get_by_text("English").click()
    person.says("Results are synthetic")


def test_the_browsers_language_is_taken(browser, studio) -> None:
    context = browser.new_context(locale="zh-TW")
    person = Person(context.new_page(), studio.address)
    person.says("結果皆為人工合成")
    context.close()


def painting(person: Person) -> None:
    """What is painted on the source will take its look from the second reference alone."""
    person.fused()
    person.choose("size", 0)  # the model's own: nothing is interpolated over the edge
    person.press("weight-2", "Home")
    person.open_panel("controls_places")
    person.press("feather", "Home")
    person.choose("painted_from", 2)


def differences(before: Image.Image, after: Image.Image) -> np.ndarray:
    return np.abs(np.asarray(after, int) - np.asarray(before, int)).sum(axis=2)


def test_painting_changes_only_what_was_painted(person: Person, tmp_path: Path) -> None:
    painting(person)
    before = person.kept(tmp_path / "before.png")
    last = person.picture()
    canvas = person.page.locator("#painter canvas")
    canvas.hover()
    box = None
    while box != (now := canvas.bounding_box()):  # a picture that was kept may still move the page
        box = now
        person.page.wait_for_timeout(500)
    side = box["width"]
    mouse = person.page.mouse
    mouse.move(box["x"] + 0.2 * side, box["y"] + 0.3 * side)
    mouse.down()
    mouse.move(box["x"] + 0.6 * side, box["y"] + 0.3 * side, steps=4)
    mouse.up()
    person.next_picture(last)
    changed = differences(before, person.kept(tmp_path / "after.png"))
    assert changed.shape == (128, 128)
    inside = np.zeros_like(changed, dtype=bool)
    inside[29:48, 16:86] = True  # the stroke, 24 of 256 wide, and three pixels around it
    assert not changed[~inside].any()
    assert (changed[34:44, 24:78] > 0).mean() > 0.9


def test_painting_with_the_keyboard(person: Person, tmp_path: Path) -> None:
    painting(person)
    before = person.kept(tmp_path / "before.png")
    last = person.picture()
    person.page.locator("#painter canvas").focus()
    for key in (*["ArrowUp"] * 4, *["ArrowRight"] * 4, "Shift+ArrowRight", " "):
        person.page.keyboard.press(key)
    person.next_picture(last)
    changed = differences(before, person.kept(tmp_path / "after.png"))
    rows, columns = np.nonzero(changed)
    middle = np.array([(128 - 40) / 2, (128 + 42) / 2])
    assert np.abs([rows.mean() + 0.5, columns.mean() + 0.5] - middle).max() < 1
    assert np.ptp(rows) <= 18 and np.ptp(columns) <= 18


def test_reload_gives_a_page_that_works(person: Person, studio) -> None:
    person.fused()
    person.open(studio.address)
    assert person.picture() is None
    person.fused()


def test_on_a_phone_nothing_is_cut_off(browser, studio) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="en-US")
    person = Person(context.new_page(), studio.address)
    person.fused()
    person.page.click("button#fuse")
    person.page.wait_for_selector("#command .cm-line")
    for tab in ("Fuse", "Explore", "Compare", "About"):
        person.open_tab(tab)
        person.page.wait_for_timeout(500)
        assert person.page.evaluate("document.documentElement.scrollWidth") <= 390, tab
        outside = person.page.evaluate(
            """() => [...document.querySelectorAll('button, label, input, img, h2')]
            .filter(e => e.offsetParent && !e.closest('.remove'))
            .filter(e => { const box = e.getBoundingClientRect();
              return box.width && (box.right > 390 || box.left < 0
                || (e.matches('button:not(.label-wrap)')  // their turned arrows are wider
                    && e.scrollWidth > e.clientWidth + 1)); })
            .map(e => e.outerHTML.slice(0, 160))"""
        )
        assert outside == [], tab
    context.close()


def test_the_result_stays_in_sight_while_controls_move(person: Person) -> None:
    person.fused()
    for panel in ("controls_look", "controls_places", "controls_levels", "controls_latent"):
        person.open_panel(panel)
    person.page.locator("#variation_angle").scroll_into_view_if_needed()
    assert person.page.evaluate("scrollY") > 600
    box = person.page.locator("#result").bounding_box()
    assert box["y"] + box["height"] / 2 > 0


def test_every_control_has_a_name(person: Person) -> None:
    person.fused()
    nameless = person.page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea, select, [role=slider]')]
        .filter(e => e.offsetParent && e.type !== 'file')
        .filter(e => !/\\p{L}{2}/u.test([e.ariaLabel, e.innerText, e.title,
            ...[...e.labels ?? []].map(l => l.innerText),
            ...[...e.querySelectorAll('img')].map(i => i.alt),
            document.getElementById(e.getAttribute('aria-labelledby'))?.innerText].join(' ')))
        .map(e => e.outerHTML.slice(0, 160))"""
    )
    assert nameless == []


def test_pictures_have_the_size_that_was_asked_for(person: Person, tmp_path: Path) -> None:
    person.fused()
    picture = person.kept(tmp_path / "result.png")
    assert picture.size == (256, 256)
    assert "trainedAlgorithmicMedia" in str(picture.info)
