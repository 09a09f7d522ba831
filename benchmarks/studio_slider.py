"""How long after a slider's key the studio shows the next picture, in Chromium.

facemeld ui --port 7860 --no-browser   # in another terminal
python benchmarks/studio_slider.py --address http://127.0.0.1:7860
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time

from playwright.sync_api import sync_playwright

PICTURE = "document.querySelector('#result img.after')?.src"
CHANGED = f"last => {{ const now = {PICTURE}; return now && now !== last; }}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="http://127.0.0.1:7860")
    parser.add_argument("--keys", type=int, default=20)
    given = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(given.address)
        page.wait_for_function("document.documentElement.dataset.ready")
        for place, number in (("source", 10), ("reference", 6)):
            page.locator(f"#{place}-examples button").nth(number).click()
        page.wait_for_function(CHANGED, arg=None)
        slider = page.locator("#strength input[type=range]")
        slider.wait_for()
        slider.focus()
        milliseconds = []
        page.keyboard.press("Home")
        page.wait_for_timeout(2000)  # the first ones fill caches
        for _ in range(given.keys):
            last = page.evaluate(PICTURE)
            started = time.perf_counter()
            page.keyboard.press("ArrowRight")
            page.wait_for_function(CHANGED, arg=last)
            milliseconds.append(1000 * (time.perf_counter() - started))
        browser.close()
    least, middle, most = min(milliseconds), statistics.median(milliseconds), max(milliseconds)
    print(f"milliseconds from key to picture: {least:.0f}, median {middle:.0f}, {most:.0f}")


if __name__ == "__main__":
    main()
