"""The page of an explanation, as text and in Chromium."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from art2real.data.bank import MemoryBank
from art2real.data.bank_build import build_bank
from art2real.data.manifest import BankSettings
from art2real.index.exact import ExactRetriever
from art2real.translation.explain import explain
from art2real.translation.explanation_page import explanation_page, json_in_page
from tests.index.banks import NARROW, WIDE
from tests.pictures import make_photo

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = (
    "<img src=x onerror=window.hacked=1>.png",
    "a \"quoted\" 'name' <b>&amp;.png",
    "</script><script>window.hacked=2</script>.png",
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Photos whose names and authors are HTML; one is said to lie on the web."""
    folder = tmp_path_factory.mktemp("bank")
    with (folder / "photos.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "licence", "attribution"])
        for number, name in enumerate(HOSTILE):
            path = folder / name.replace("/", "-")
            Image.fromarray(make_photo(number, 48, 48)).save(path)
            table.writerow([path.name, "CC BY <4.0>", "<script>window.hacked=3</script>\u2028Ann"])
    settings = BankSettings(image_size=48, scales=(WIDE, NARROW))
    build_bank(str(folder / "photos.csv"), folder / "bank", settings)
    return MemoryBank.open(folder / "bank")


@pytest.fixture(scope="module")
def found(bank):
    """Of the first photo, with the mean patch in its last region."""
    picture = bank.photos[0].pixels.copy()
    picture[40:, 40:] = np.rint((bank.mean(WIDE).reshape(3, 8, 8).transpose(1, 2, 0) + 1) * 127.5)
    retrievers = {scale: ExactRetriever(bank, scale) for scale in (WIDE, NARROW)}
    return picture, explain(picture, bank, retrievers, k=2)


@pytest.fixture(scope="module")
def page_text(found):
    picture, explanation = found
    return explanation_page(
        explanation, picture, picture, name="<svg onload=window.hacked=4>.jpg", checkpoint="runs/0001"
    )


def test_json_cannot_leave_its_element():
    data = {"</script><script>": ["<!--", "\u2028\u2029", "&lt;", "\udc80"]}
    text = json_in_page(data)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == data


def test_the_page_is_one_file(page_text):
    assert "window.hacked=4" in page_text
    assert "<svg onload" not in page_text
    assert page_text.count("<script") == page_text.count("</script>") == 2
    assert set(re.findall(r"\bsrc=\"([^\"]{5})", page_text)) == {"data:"}
    assert "http://" not in page_text
    assert "https://" not in page_text


def test_a_giant_picture_makes_no_giant_page(bank, found):
    giant = np.random.default_rng(0).integers(0, 256, (3000, 2000, 3), np.uint8)
    explanation = found[1]
    page = explanation_page(explanation, giant, giant, name="giant", checkpoint="runs/0001")
    assert len(page) < 4 * 2**20
    assert page.count("data:image/jpeg;base64,") == 3  # both pictures, and the thumbnails


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, page_text, tmp_path):
    """The page in a browser; whatever it asks of the network, or does wrong, fails the test."""
    (tmp_path / "page.html").write_text(page_text, encoding="utf-8")
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    asked, errors = [], []
    context.route("**/*", lambda route: (asked.append(route.request.url), route.continue_()))
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto((tmp_path / "page.html").as_uri())
    yield page
    assert [url for url in asked if not url.startswith("data:")] == [(tmp_path / "page.html").as_uri()]
    assert errors == []
    assert page.evaluate("window.hacked") is None
    context.close()


def click(page, down, across):
    picture = page.locator("#translation")
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] * across, "y": box["height"] * down})


@pytest.mark.browser
def test_a_click_shows_the_sources_of_its_region(opened, found):
    explanation = found[1]
    assert "Choose a place" in opened.locator("#sources").inner_text()
    for down, across in ((0.02, 0.02), (0.3, 0.55), (0.6, 0.1)):
        click(opened, down, across)
        side = explanation.regions.side
        region = int(down * 48) // side * explanation.regions.columns + int(across * 48) // side
        rows = opened.locator("#sources ul")
        assert rows.count() == 2
        for number, each in enumerate(explanation.scales):
            cards = rows.nth(number).locator("li")
            assert cards.count() == 2
            for rank in range(2):
                text = cards.nth(rank).inner_text()
                record = explanation.bank.photos[int(each.squares[region, rank])]
                assert record.source in text
                assert record.licence in text
                assert "<script>window.hacked=3</script>" in text
                shown = float(re.search(r"similarity (\S+)", text)[1])
                assert shown == pytest.approx(each.similarity[region, rank], abs=2e-3)
        mark = opened.locator("#translation .sources-mark").bounding_box()
        box = opened.locator("#translation img").bounding_box()
        assert mark["x"] <= box["x"] + across * box["width"] <= mark["x"] + mark["width"]
        assert mark["y"] <= box["y"] + down * box["height"] <= mark["y"] + mark["height"]


@pytest.mark.browser
def test_a_plain_region_says_so(opened):
    click(opened, 0.99, 0.99)
    assert opened.locator("#sources").inner_text().count("No source: a plain patch") == 1
    assert opened.locator("#sources ul").nth(0).locator("li").count() == 0
    assert opened.locator("#sources ul").nth(1).locator("li").count() == 2


@pytest.mark.browser
def test_the_patches_drawn_are_those_of_the_photos(opened, found):
    """Where the regions' patches lie on the bank's grid, the nearest one of a photo's own is itself."""
    click(opened, 0.3, 0.3)
    same = """async () => {
        await new Promise((done) => setTimeout(done, 200));
        const [mine, theirs] = [".head canvas", "li:first-child .sources-patch canvas"].map((each) => {
            const canvas = document.querySelectorAll("#sources " + each)[1];
            return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
        });
        return [mine.length, mine.every((value, at) => value === theirs[at]), new Set(mine).size > 20];
    }"""
    assert opened.evaluate(same) == [4 * 4 * 4, True, True]


@pytest.mark.browser
def test_the_keyboard_is_enough(opened, found):
    grid = found[1].regions
    sources = opened.locator("#sources")
    picture = opened.locator("#translation")
    assert picture.get_attribute("role") == "application"
    assert "arrow keys" in picture.get_attribute("aria-label")
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.id") == "translation"
    opened.keyboard.press("ArrowLeft")  # the mark appears in the middle
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("ArrowUp")
    assert "Choose a place" in sources.inner_text()
    opened.keyboard.press("Enter")
    expected = f"row {grid.rows // 2} of {grid.rows}, column {grid.columns // 2} of {grid.columns}"
    assert expected in sources.inner_text()
    for _ in range(2 * grid.columns):
        opened.keyboard.press("ArrowRight")
    opened.keyboard.press(" ")
    assert f"column {grid.columns} of" in sources.inner_text()
    opened.keyboard.press("Escape")
    assert "Choose a place" in sources.inner_text()
    assert opened.locator("#translation .sources-mark").is_hidden()
    assert sources.locator(".sources").get_attribute("aria-live") == "polite"


@pytest.mark.browser
def test_a_photo_lights_its_regions(opened, found):
    explanation = found[1]
    buttons = opened.locator("#photos button")
    assert buttons.count() == sum(photo.share > 0 for photo in explanation.photos)
    assert explanation.photos[0].source in buttons.first.inner_text()
    light = opened.locator("#translation canvas")
    assert light.is_hidden()
    buttons.first.click()
    assert buttons.first.get_attribute("aria-pressed") == "true"
    dark = opened.evaluate("""() => {
        const canvas = document.querySelector("#translation canvas");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return [...data].filter((_, at) => at % 4 === 3).map((alpha) => alpha > 0);
    }""")
    drawn = np.any(
        [each.squares[:, 0] == explanation.photos[0].number for each in explanation.scales], axis=0
    )
    assert dark == (~drawn).tolist()
    buttons.first.click()
    assert light.is_hidden()


@pytest.mark.browser
def test_it_fits_a_phone_and_forgets_what_was_shown_before(opened, found):
    opened.set_viewport_size({"width": 360, "height": 700})
    click(opened, 0.2, 0.2)
    assert opened.evaluate("document.documentElement.scrollWidth") == 360
    opened.evaluate("void showSources(translation, sources, explained, photos)")
    assert opened.locator("#translation .sources-layer").count() == 1
    assert opened.locator("#sources > *").count() == 1
    click(opened, 0.2, 0.2)
    assert opened.locator("#sources ul").count() == 2


@pytest.mark.browser
def test_only_web_addresses_become_links(opened):
    shown = """(places) => places.map((place) => {
        const data = structuredClone(explained);
        for (const photo of data.photos) photo.place = place;
        showSources(translation, sources, data, photos);
        translation.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" }));
        translation.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
        const link = document.querySelector("#sources a");
        return link && [link.href, link.rel];
    })"""
    places = ["javascript:window.hacked=5", "data:text/html,x", "s3://b/c.jpg", "https://a.test/x.jpg"]
    assert opened.evaluate(shown, places) == [
        None,
        None,
        None,
        ["https://a.test/x.jpg", "noopener noreferrer"],
    ]
