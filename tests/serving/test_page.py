"""The page at `/` in a browser: a painting translated, compared, taken home, explained; errors in words."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from art2real.index.exact import ExactRetriever
from art2real.serving.backend import Busy
from art2real.translation.explain import explain
from tests.index.banks import NARROW, WIDE, make_bank
from tests.pictures import make_photo
from tests.serving.made import Mirror, on_a_port, service

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not here"),
]
WIDTHS = {"desktop": (1200, 900), "phone": (360, 740)}
both = pytest.mark.parametrize("page", WIDTHS, indirect=True)


class Explaining(Mirror):
    """With a real explanation, from a small bank."""

    def __init__(self, bank):
        super().__init__()
        self._bank = bank
        self._retrievers = {scale: ExactRetriever(bank, scale) for scale in (WIDE, NARROW)}
        self.explained = 0

    async def explain(self, model, pixels, *, pictures):
        self.explained += 1
        return explain(pixels, self._bank, self._retrievers, k=2, regions=64).to_dict(pictures)


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    return Explaining(make_bank(tmp_path_factory.mktemp("bank"), photos=4))


@pytest.fixture(scope="module")
def port(backend):
    with on_a_port(service(backend, max_bytes=200_000)) as port:
        yield port


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(request, browser, port, backend):
    width, height = WIDTHS[getattr(request, "param", "desktop")]
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    context.set_default_timeout(10_000)
    page = context.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(f"http://127.0.0.1:{port}/")
    says(page, "#limits", "megapixels")
    yield page
    own = (f"http://127.0.0.1:{port}/", "blob:http://127.0.0.1", "data:")
    assert all(url.startswith(own) for url in asked), asked
    # Of what is said, only that an answer was an error: no script failed, and the policy stopped nothing.
    assert [text for text in said if not text.startswith("Failed to load resource")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    backend.failure = None
    context.close()


def says(page, place, text):
    playwright.expect(page.locator(place)).to_contain_text(text, timeout=10_000)


def painting(tmp_path, name="water lilies.png", **options):
    path = tmp_path / name
    Image.fromarray(make_photo(3, 60, 90)).save(path, **options)
    return path


def choose(page, path):
    page.set_input_files("#file", path)


def size_shown(page):
    image = page.locator(".picture img").first
    return image.evaluate("image => [image.naturalWidth, image.naturalHeight]")


@both
def test_a_painting_is_translated_compared_and_taken_home(page, tmp_path):
    path = painting(tmp_path)
    choose(page, path)
    page.wait_for_selector("#result:visible")
    assert size_shown(page) == [90, 60]
    assert "Done" in page.inner_text("#status")

    divide = "getComputedStyle(document.querySelector('.painting')).clipPath"
    assert "50%" in page.evaluate(divide)
    page.focus("#divide")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert "47%" in page.evaluate(divide)
    page.keyboard.press("Home")
    assert "100%" in page.evaluate(divide)
    box = page.locator(".picture").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 30, steps=5)
    page.mouse.up()
    assert page.input_value("#divide") == "75"

    whole = np.asarray(Image.open(path))
    for name, suffix in (("png", "png"), ("jpeg", "jpg")):
        page.select_option("#format", name)
        with page.expect_download() as started:
            page.click("#download")
        assert started.value.suggested_filename == f"water lilies-photo.{suffix}"
        saved = Image.open(io.BytesIO(started.value.path().read_bytes()))
        assert (saved.format, saved.size) == (name.upper(), (90, 60))
        assert np.abs(np.asarray(saved).astype(int) - (255 - whole)).mean() < (1 if name == "png" else 5)


@both
def test_a_click_shows_the_sources_of_a_place(page, tmp_path, backend):
    before = backend.explained
    choose(page, painting(tmp_path))
    page.wait_for_selector("#result:visible")
    assert backend.explained == before, "nobody has asked for them"
    page.click(".picture", position={"x": 40, "y": 40})
    page.wait_for_selector(".sources .drawn")
    assert "photo-00" in page.inner_text("#panel")
    assert "Region in row" in page.inner_text(".sources")
    first = page.inner_text(".sources > p")
    page.click(".picture", position={"x": 250, "y": 150})
    assert page.inner_text(".sources > p") != first
    assert backend.explained == before + 1


def test_all_of_it_by_keyboard(page, tmp_path):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    choose(page, painting(tmp_path))
    page.wait_for_selector("#result:visible")
    for reached in ("model", "divide", "sources-button", "format", "download"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == reached
    page.focus("#sources-button")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sources-photos")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_selector(".sources .drawn")


def test_a_turned_photo_of_a_painting_stands_upright(page, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    choose(page, painting(tmp_path, "turned.jpg", exif=exif))
    page.wait_for_selector("#result:visible")
    assert size_shown(page) == [60, 90]
    assert page.evaluate("document.querySelector('.painting').naturalWidth") == 60


def test_a_painting_that_the_browser_cannot_show_is_translated_all_the_same(page, tmp_path):
    choose(page, painting(tmp_path, "scan.tif"))
    page.wait_for_selector("#result:visible")
    assert "cannot show" in page.inner_text("#status")
    assert not page.is_visible("#divide")


@both
def test_errors_in_words(page, tmp_path, backend):
    (tmp_path / "notes.jpg").write_text("no picture")
    choose(page, tmp_path / "notes.jpg")
    page.wait_for_selector(".problem")
    assert "This file cannot be used" in page.inner_text("#error")
    assert "not in an image format" in page.inner_text("#error")

    (tmp_path / "large.png").write_bytes(bytes(300_000))
    choose(page, tmp_path / "large.png")
    says(page, "#error", "too large")
    assert "the service takes 0.2 MiB" in page.inner_text("#error")

    backend.failure = Busy(1)
    choose(page, painting(tmp_path))
    says(page, "#error", "hands full")
    backend.failure = None
    page.click("text='Try again'")
    page.wait_for_selector("#result:visible")
    assert page.inner_text("#error") == ""

    page.route("**/v1/translate*", lambda route: route.abort())
    choose(page, painting(tmp_path))
    page.wait_for_selector(".problem")
    assert "cannot be reached" in page.inner_text("#error")
    assert page.is_visible("text='Try again'")


def test_names_from_elsewhere_are_text(page, tmp_path):
    page.route(
        "**/v1/translate*",
        lambda route: route.fulfill(
            status=400,
            content_type="application/json",
            body='{"error": {"code": "x", "message": "<img src=x onerror=document.title=1>"}}',
        ),
    )
    choose(page, painting(tmp_path))
    page.wait_for_selector(".problem")
    assert "<img src=x" in page.inner_text("#error")
    assert page.locator("#error img").count() == 0


def test_a_token_is_asked_for_and_kept_for_the_tab(browser, backend, tmp_path):
    with on_a_port(service(backend, token="s3cret")) as port:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#token-form:visible")
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector(".problem")
        page.fill("#token", "s3cret")
        page.keyboard.press("Enter")
        says(page, "#limits", "megapixels")
        page.reload()
        choose(page, painting(tmp_path))
        page.wait_for_selector("#result:visible")
        assert page.evaluate("localStorage.length") == 0
        context.close()


def test_a_picture_that_is_dropped_or_pasted(page):
    give = """(kind) => {
      const canvas = document.createElement('canvas');
      canvas.width = 30; canvas.height = 20;
      return new Promise((resolve) => canvas.toBlob((blob) => {
        const data = new DataTransfer();
        data.items.add(new File([blob], 'a.png', { type: 'image/png' }));
        document.dispatchEvent(kind === 'drop'
          ? new DragEvent('drop', { dataTransfer: data, cancelable: true })
          : new ClipboardEvent('paste', { clipboardData: data }));
        resolve();
      }));
    }"""
    for kind in ("drop", "paste"):
        page.evaluate("document.getElementById('result').hidden = true")
        page.evaluate(give, kind)
        page.wait_for_selector("#result:visible")
        assert size_shown(page) == [30, 20]
