"""What a person does on the page, in a real browser."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from facemeld.data.folders import bundled_faces

FACES = {path.stem: path for path in bundled_faces()}


class Person:
    """Somebody with the page open, and a list of all that went over the network."""

    def __init__(self, page, address: str) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(30_000)
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

    def says(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for()

    def fused(self) -> str:
        """A source and two references."""
        self.upload("source", FACES["woman_astronaut"])
        self.page.wait_for_selector("#source-seen img")
        for number, name in enumerate(("cat_chelsea", "wild_raccoon"), 1):
            self.upload("reference", FACES[name])
            self.page.wait_for_selector(f"#weight-{number}", state="visible")
        return self.next_picture(None)


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


def test_fuse_move_a_slider_keep_and_repeat(person: Person, tmp_path: Path) -> None:
    first = person.fused()
    strength = person.page.locator("#strength input[type=range]")
    strength.focus()
    for _ in range(3):
        person.page.keyboard.press("PageDown")
    second = person.next_picture(first)
    person.page.locator("#weight-1 input[type=range]").focus()
    person.page.keyboard.press("Home")
    person.next_picture(second)
    person.page.click("button#fuse")
    person.page.wait_for_selector("#command .cm-line")
    with person.page.expect_download() as download:
        person.page.click("#save-kit")
    kit = tmp_path / "kit.zip"
    download.value.save_as(kit)
    assert {"fused.png", "settings.json", "command.txt"} <= set(zipfile.ZipFile(kit).namelist())
    strength.focus()
    person.page.keyboard.press("Home")
    before = person.next_picture(person.picture())
    person.page.click("#again")
    person.next_picture(before)
    assert float(strength.input_value()) > 0


def test_the_slider_between_source_and_result_follows_the_keyboard(person: Person) -> None:
    person.fused()
    slider = person.page.get_by_role("slider", name="Slide between source and result")
    slider.focus()
    person.page.keyboard.press("End")
    covered = person.page.evaluate(
        "getComputedStyle(document.querySelector('#result img.before')).clipPath"
    )
    assert re.fullmatch(r"inset\(0(px|%)?( 0(px|%)?)*\)|inset\(0px calc\(0%\) 0px 0px\)", covered)


def test_a_video_is_made_and_plays(person: Person) -> None:
    person.fused()
    person.page.get_by_role("tab", name="Explore").click()
    person.page.get_by_role("tab", name="Video").click()
    person.page.locator("#video-seconds input[type=range]").focus()
    person.page.keyboard.press("Home")
    person.page.click("#video-make")
    person.page.wait_for_selector("video.film")
    person.page.wait_for_function("document.querySelector('video.film').currentTime > 0")


def test_a_job_is_stopped(person: Person) -> None:
    person.fused()
    person.page.get_by_role("tab", name="Explore").click()
    person.page.get_by_role("tab", name="Video").click()
    person.page.locator("#video-seconds input[type=range]").focus()
    person.page.keyboard.press("End")
    person.page.click("#video-make")
    person.page.wait_for_selector("#video-status progress")
    person.page.click("#video-make-stop")
    person.says("Stopped.")
    person.page.get_by_role("tab", name="Fuse", exact=True).click()
    last = person.picture()
    person.page.locator("#strength input[type=range]").focus()
    person.page.keyboard.press("Home")
    person.next_picture(last)
    assert person.page.query_selector("video.film") is None


def test_variations_and_a_grid_are_gone_on_with(person: Person) -> None:
    last = person.fused()
    person.page.get_by_role("tab", name="Explore").click()
    person.page.click("#grid-make")
    person.page.locator("#grid button").nth(4).click()
    person.page.wait_for_selector("#command .cm-line")
    person.page.get_by_role("tab", name="Variations").click()
    person.page.locator("#variations-count input[type=range]").focus()
    person.page.keyboard.press("Home")
    person.page.click("#variations-make")
    person.page.locator("#variations button").nth(1).click()
    person.says("Variation 2 is set in the Fuse tab.")
    person.next_picture(last)


def test_a_text_file_named_png_is_told_in_a_sentence(person: Person, tmp_path: Path) -> None:
    text = tmp_path / "letter.png"
    text.write_text("Dear machine, this is no picture.")
    person.upload("source", text)
    person.says("This is not a picture that can be read")
    person.page.wait_for_selector("#source-upload img", state="detached")
    assert "Traceback" not in person.page.content()
    person.fused()


def test_another_language_changes_every_label(person: Person) -> None:
    person.fused()
    person.page.get_by_text("繁體中文").click()
    person.says("結果皆為人工合成")
    person.page.wait_for_function("document.documentElement.lang === 'zh-Hant'")
    names = person.page.locator("label, button, legend, [role=tab]").all_inner_texts()
    left = {name.strip() for name in names if re.search(r"[A-Za-z]{3}", name)}
    known = {"English", "anime", "cat", "dog", "man", "wild", "woman"}
    assert {text for text in left if not re.search(r"jpg|png|zip|JSON", text)} <= known
    person.page.get_by_text("English").click()
    person.says("Results are synthetic")


def test_the_browsers_language_is_taken(browser, studio) -> None:
    context = browser.new_context(locale="zh-TW")
    person = Person(context.new_page(), studio.address)
    person.says("結果皆為人工合成")
    context.close()


def test_painting_changes_only_what_was_painted(person: Person) -> None:
    last = person.fused()
    person.page.locator("#panel-controls_places button").first.click()
    person.page.locator("#painted_from input").click()
    person.page.get_by_role("option").nth(2).click()
    canvas = person.page.locator("#painter canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    person.page.mouse.move(box["x"] + 30, box["y"] + 30)
    person.page.mouse.down()
    person.page.mouse.move(box["x"] + 90, box["y"] + 60, steps=4)
    person.page.mouse.up()
    person.next_picture(last)


def test_reload_gives_a_page_that_works(person: Person, studio) -> None:
    person.fused()
    person.open(studio.address)
    assert person.picture() is None
    person.fused()


def test_a_phone_needs_no_sideways_scrolling(browser, studio) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="en-US")
    person = Person(context.new_page(), studio.address)
    person.fused()
    assert person.page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_every_control_has_a_name(person: Person) -> None:
    person.fused()
    nameless = person.page.evaluate(
        """() => [...document.querySelectorAll('button, input, textarea, select, [role=slider]')]
        .filter(e => e.offsetParent && e.type !== 'file')
        .filter(e => !(e.ariaLabel || e.innerText?.trim() || e.title || e.labels?.length
            || e.getAttribute('aria-labelledby') || e.querySelector('img[alt]:not([alt=""])')))
        .map(e => e.outerHTML.slice(0, 160))"""
    )
    assert nameless == []


def test_pictures_have_the_size_that_was_asked_for(person: Person, tmp_path: Path) -> None:
    person.fused()
    person.page.click("button#fuse")
    person.page.wait_for_selector("#save")
    with person.page.expect_download() as download:
        person.page.click("#save")
    download.value.save_as(tmp_path / "result.png")
    with Image.open(tmp_path / "result.png") as picture:
        assert picture.size == (256, 256)
        assert "trainedAlgorithmicMedia" in str(picture.info)
