"""The participants' page and the administrator's in a browser, against the real server."""

from __future__ import annotations

import re
import shutil

import httpx
import pytest

from art2real.study.app import Access, make_app
from art2real.study.design import read_design
from art2real.study.schedule import schedule
from art2real.study.store import Store
from tests.serving.made import on_a_port
from tests.study.studies import ADMIN, FREE, Person, asked, make_study

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not here"),
]
SIZE = 240
DESKTOP = {"viewport": {"width": 1200, "height": 900}, "locale": "en-GB"}
PHONE = {
    "viewport": {"width": 380, "height": 740},
    "locale": "it-IT",
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Served:
    """A study and its server."""

    def __init__(self, folder, store, port):
        self.folder = folder
        self.design = read_design(folder)
        self.store = store
        self.home = f"http://127.0.0.1:{port}"

    def link(self):
        enrolled = self.store.enrol()
        return enrolled.number, f"{self.home}/p/{enrolled.token}"

    def answers(self, number):
        return [answer for answer in self.store.answers() if answer.participant == number]


def served(folder, **access):
    free = {"address": FREE, "participant": FREE, "enrol": FREE, "admin_token": ADMIN, "break_every": 3}
    store = Store.open(folder)
    app = make_app(folder, store, Access(**{**free, **access}))
    return store, on_a_port(app)


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """By kind, each made and served when it is first asked for."""
    running = {}

    def get(kind, **access):
        if kind not in running:
            folder = make_study(tmp_path_factory.mktemp("page") / "study", kind, size=SIZE)
            store, server = served(folder, open_enrolment=True, **access)
            running[kind] = store, server, Served(folder, store, server.__enter__())
        return running[kind][2]

    yield get
    for store, server, _ in running.values():
        server.__exit__(None, None, None)
        store.close()


@pytest.fixture
def visit(browser):
    """Opens an address as on some device; in the end, nothing came from elsewhere and no script failed."""
    contexts, seen = [], []

    def open_page(address, device=DESKTOP):
        context = browser.new_context(**device)
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        home = re.match(r"https?://[^/]+", address)[0]
        page.on("request", lambda request: seen.append((home, request.url)))
        page.on("console", lambda message: seen.append((home, message.text)))
        page.on("pageerror", lambda error: seen.append((home, str(error))))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # Of what is said in the console, only that an answer was an error.
    fine = (*{home for home, _ in seen}, "data:", "blob:", "Failed to load resource")
    assert [said for _, said in seen if not said.startswith(fine)] == []


def says(page, place, text):
    playwright.expect(page.locator(place)).to_contain_text(text, timeout=10_000)


def agree(page):
    page.check("#consent")
    page.click("#begin")


def go_on(page, words=None):
    page.wait_for_selector("#message:visible")
    if words:
        says(page, "#message", words)
    page.click("#go")


def trial_open(page):
    page.wait_for_selector("#trial:visible #pictures.open")


def file_in(page, side):
    return page.locator(f"#{side} img").get_attribute("src").rpartition("/")[2]


def box(page, place):
    return page.locator(place).bounding_box()


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# The other two of all six show nothing of their own: on a phone realism is coherency without the painting;
# at a desk real-vs-generated is realism in more sizes, which the phone shows.
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "device"),
    [
        ("realism", "desktop"),
        ("coherency", "desktop"),
        ("coherency", "phone"),
        ("real-vs-generated", "phone"),
        pytest.param("realism", "phone", marks=SLOW),
        pytest.param("real-vs-generated", "desktop", marks=SLOW),
    ],
)
def test_a_whole_sitting(studies, visit, kind, device):
    """By keyboard at a desk, by touch on a phone in Italian; with a reload in the middle."""
    study = studies(kind)
    phone = device == "phone"
    number, link = study.link()
    page = visit(link, PHONE if phone else DESKTOP)
    says(page, "#welcome h1", "Quale immagine?" if phone else "Which picture?")
    assert page.evaluate("document.documentElement.lang") == ("it" if phone else "en")

    def press(place):
        if phone:
            page.tap(place)
        else:
            page.focus(place)
            page.keyboard.press("Enter")

    press("#begin")
    says(page, "#consent-missing", "spunti" if phone else "tick")
    if phone:
        page.tap("label[for=consent]")
    else:
        page.focus("#consent")
        page.keyboard.press("Space")
    press("#begin")
    order = schedule(study.design, number)
    chosen = []
    titles = []
    while True:
        page.wait_for_selector("#message:visible, #trial:visible #pictures.open")
        assert fits(page)
        if page.is_visible("#message"):
            titles.append(page.inner_text("#message-title"))
            if not page.is_visible("#go"):
                break
            if not phone:
                assert page.evaluate("document.activeElement.id") == "go"
            press("#go")
            page.wait_for_selector("#message", state="hidden")
            continue
        shown = order[len(chosen)]
        assert (file_in(page, "left"), file_in(page, "right")) == (shown.left.file, shown.right.file)
        assert page.is_visible("#painting") == (kind == "coherency")
        for side in ("left", "right"):
            exact = box(page, f"#{side} img")
            assert (exact["width"], exact["height"]) == (shown.trial.size, shown.trial.size)
        left, right = box(page, "#left"), box(page, "#right")
        below = left["y"] + left["height"] <= right["y"]
        beside = left["x"] + left["width"] <= right["x"] and left["y"] == right["y"]
        # The smallest pictures of real-vs-generated have room side by side even on a phone.
        assert below if phone and shown.trial.size > 180 else beside
        side = ("left", "right", "right")[len(chosen) % 3]
        if phone:
            page.tap(f"#{side}")
        else:
            key = {"left": ("1", "ArrowLeft"), "right": ("2", "ArrowRight")}[side][len(chosen) % 2]
            page.keyboard.press(key)
        chosen.append((shown.left if side == "left" else shown.right).file)
        if shown.trial.role == "practice":
            page.wait_for_selector("#feedback:visible")
            good = chosen[-1] == getattr(shown.trial, shown.trial.right).file
            words = (("No, è", "Sì, è") if phone else ("No, it is", "Yes, that"))[good]
            says(page, "#feedback-text", words)
            press("#next")
        page.wait_for_function(
            "!document.querySelector('#pictures.open') || document.querySelector('#trial').hidden"
        )
        if len(chosen) == 4:
            playwright.expect(page.locator("#progress")).not_to_have_attribute("value", "1")
            page.reload()
    english = [
        "First, some practice",
        "Now the study itself",
        "Welcome back",
        "Time for a break",
        "Thank you",
    ]
    italian = [
        "Prima, un po' di pratica",
        "Ora lo studio vero e proprio",
        "Si riprende",
        "È ora di una pausa",
        "Grazie",
    ]
    assert titles == (italian if phone else english)
    answers = study.answers(number)
    assert [answer.chosen for answer in answers] == chosen
    assert all(0 < answer.reaction_ms < 10_000 and answer.shown_percent == 100 for answer in answers)
    person = study.store.participants()[number]
    assert (person.language, person.finished is not None) == ("it" if phone else "en", True)
    assert study.store.pixel_ratios()[number] == (2 if phone else 1)
    page.reload()
    says(page, "#message-title", titles[-1])


def begun(study, visit, device=DESKTOP):
    """A participant before the first judged trial, who practised elsewhere."""
    number, link = study.link()
    with httpx.Client(base_url=study.home) as client:
        person = Person(client, link.rpartition("/")[2])
        state = person.consent().json()
        for _ in range(study.design.practice_each):
            state = person.answer(state["upcoming"][0]).json()
    page = visit(link, device)
    page.wait_for_selector("#message:visible")
    return number, page


def test_the_time_is_that_of_the_choice(studies, visit):
    study = studies("realism")
    number, page = begun(study, visit)
    go_on(page)
    trial_open(page)
    page.wait_for_timeout(700)
    page.click("#right")
    says(page, "#progress-text", "Pair 2")
    assert 700 <= study.answers(number)[2].reaction_ms < 1500


def test_a_double_click_is_one_answer(studies, visit):
    study = studies("realism")
    number, page = begun(study, visit)
    go_on(page)
    trial_open(page)
    page.dblclick("#left")
    says(page, "#progress-text", "Pair 2")
    trial_open(page)
    page.wait_for_timeout(300)
    assert len(study.answers(number)) == 3
    says(page, "#progress-text", "Pair 2")


def test_keys_that_are_held_choose_once(studies, visit):
    study = studies("realism")
    number, page = begun(study, visit)
    go_on(page)
    trial_open(page)
    for _ in range(10):
        page.keyboard.down("ArrowLeft")
    says(page, "#progress-text", "Pair 2")
    trial_open(page)
    for _ in range(10):
        page.keyboard.down("ArrowLeft")
    page.wait_for_timeout(200)
    assert len(study.answers(number)) == 3


def test_tab_and_enter(studies, visit):
    study = studies("coherency")
    number, page = begun(study, visit)
    page.keyboard.press("Enter")
    trial_open(page)
    assert page.evaluate("document.activeElement.id") == "question"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "left"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "right"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineColor") == "rgb(255, 255, 255)"
    page.keyboard.press("Enter")
    says(page, "#progress-text", "Pair 2")
    trial_open(page)
    assert page.evaluate("document.activeElement.id") == "right", "the place is kept"
    assert [answer.choice for answer in study.answers(number)][2:] == ["right"]


def test_what_a_screen_reader_hears(studies, visit):
    study = studies("coherency")
    _, page = begun(study, visit)
    go_on(page)
    trial_open(page)
    assert (
        page.get_by_role("heading", name="Which picture shows the scene of the painting better?").count() == 1
    )
    assert page.get_by_role("button", name="First picture").count() == 1
    assert page.get_by_role("button", name="Second picture").count() == 1
    assert page.get_by_role("img", name="The painting").count() == 1
    assert page.inner_text("#live") == "Pair 1 of 5"
    assert page.locator("[role=status]").get_attribute("aria-live") == "polite"
    words = page.content().split('id="study"')[0]
    assert not [name for name in ("CycleGAN", "Ours", "photo-0") if name in words]


def test_the_connection_is_lost_and_comes_back(studies, visit):
    study = studies("realism")
    number, page = begun(study, visit)
    go_on(page)
    trial_open(page)
    lost = {"replies": 2}

    def swallow(route):
        # The server has the answer, its reply is lost: what is sent again must count once.
        if lost["replies"]:
            lost["replies"] -= 1
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/api/answer", swallow)
    page.click("#left")
    says(page, "#notice", "connection is lost")
    page.click("#notice button")
    says(page, "#progress-text", "Pair 2")
    assert page.inner_text("#notice") == ""
    assert [answer.choice for answer in study.answers(number)][2:] == ["left"]


def test_a_picture_that_does_not_come(studies, visit):
    study = studies("realism")
    number, link = study.link()
    missing = schedule(study.design, number)[0].left.file
    page = visit(study.home + "/")
    blocked = [True]
    page.route(f"**/{missing}", lambda route: route.abort() if blocked[0] else route.continue_())
    page.goto(link)
    agree(page)
    go_on(page)
    says(page, "#notice", "picture could not be loaded")
    assert not page.is_visible("#pictures")
    blocked[0] = False
    page.click("#notice button")
    trial_open(page)
    assert page.inner_text("#notice") == ""


def test_two_tabs(studies, visit):
    """The first answer stands, and the other tab goes on behind it."""
    study = studies("realism")
    number, page = begun(study, visit)
    go_on(page)
    trial_open(page)
    with asked(study.folder) as client:
        other = Person(client, page.url.rpartition("/")[2])
        for _ in range(2):
            other.answer(other.state().json()["upcoming"][0], "right")
    page.click("#left")
    says(page, "#notice", "answered before")
    says(page, "#progress-text", "Pair 3")
    trial_open(page)
    page.click("#left")
    page.wait_for_selector("#message:visible")
    assert [answer.choice for answer in study.answers(number)][2:] == ["right", "right", "left"]


def test_open_enrolment_gives_an_address_to_come_back_to(studies, visit):
    study = studies("realism")
    page = visit(study.home + "/")
    page.select_option("#language", "it")
    says(page, "#begin", "Partecipare")
    agree(page)
    says(page, "#message-title", "Prima")
    assert re.fullmatch(re.escape(study.home) + r"/p/[\w-]{22}", page.url)
    page.reload()
    says(page, "#message-title", "Prima")


def test_links_that_are_none(studies, visit, tmp_path):
    study = studies("realism")
    says(visit(study.home + "/p/nobody"), "#message-text", "This link is not valid")
    store, server = served(make_study(tmp_path / "closed", size=32))
    with server as port:
        says(visit(f"http://127.0.0.1:{port}/"), "#message-text", "you need a link")
    store.close()


def test_a_screen_that_is_too_small(tmp_path, visit):
    """The pictures shrink to it, the page says so, and so does what is stored."""
    store, server = served(
        make_study(tmp_path / "large", size=480, practice=0, attention=0, trials=3, images=3)
    )
    with server as port:
        study = Served(tmp_path / "large", store, port)
        number, link = study.link()
        page = visit(link, {**PHONE, "locale": "en-GB"})
        agree(page)
        page.wait_for_selector("#trial:visible #pictures.open")
        assert fits(page)
        percent = round(100 * box(page, "#left img")["width"] / 480)
        assert 60 < percent < 80
        says(page, "#small", f"{percent} %")
        page.tap("#left")
        says(page, "#progress-text", "Pair 2")
        assert study.answers(number)[0].shown_percent == percent
    store.close()


@pytest.mark.parametrize(("width", "layout"), [(1000, "row"), (600, "above"), (400, "column")])
def test_a_painting_and_two_pictures(studies, visit, width, layout):
    """All beside each other, or the painting above the pair, or all below each other: as there is room."""
    _, page = begun(studies("coherency"), visit, {**DESKTOP, "viewport": {"width": width, "height": 800}})
    go_on(page)
    trial_open(page)
    painting, left, right = (box(page, f"{place} img") for place in ("#painting", "#left", "#right"))
    middle = lambda one: one["x"] + one["width"] / 2  # noqa: E731
    if layout == "row":
        assert left["y"] == painting["y"] == right["y"]
        assert middle(left) < middle(painting) < middle(right)
    elif layout == "above":
        assert painting["y"] < left["y"] == right["y"]
        assert abs(2 * middle(painting) - middle(left) - middle(right)) < 2
    else:
        assert left["y"] < painting["y"] < right["y"]
    assert page.inner_text("#small") == ""


def test_words_are_easy_to_read(studies, visit):
    """All text against what is behind it: at least 4.5 to 1, as WCAG 2 AA asks."""
    _, page = begun(studies("realism"), visit)
    go_on(page)
    trial_open(page)
    measure = """() => {
      const light = (text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((v) => {
          v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const behind = (e) => {
        for (; e; e = e.parentElement) {
          const colour = getComputedStyle(e).backgroundColor;
          if (colour !== "rgba(0, 0, 0, 0)") return colour;
        }
      };
      const all = document.querySelectorAll("main :is(h1, h2, p, span, label, button, select, figcaption)");
      return [...all].map((e) => {
        const pair = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => a - b);
        return (pair[1] + 0.05) / (pair[0] + 0.05);
      });
    }"""
    ratios = page.evaluate(measure)
    assert len(ratios) > 15
    assert min(ratios) >= 4.5


def test_the_administrators_page(studies, visit):
    study = studies("real-vs-generated")
    number, _ = begun(study, visit)
    page = visit(study.home + "/admin")
    page.fill("#token", "wrong-token")
    page.keyboard.press("Enter")
    says(page, "#error", "not the administrator's token")
    page.fill("#token", ADMIN)
    page.keyboard.press("Enter")
    says(page, "#facts", "enrolled")
    assert page.inner_text("#error") == ""
    says(page, f"#participants tr:has-text('No. {number}')", "2 of 7")
    page.reload()
    says(page, "#facts", "enrolled")
    assert page.evaluate("localStorage.length") == 0
    for kind, start in (("csv", "participant,"), ("json", "[{")):
        with page.expect_download() as started:
            page.click(f"#{kind}")
        assert started.value.suggested_filename == f"answers.{kind}"
        assert started.value.path().read_text().startswith(start)
    page.click("#leave")
    page.reload()
    assert page.is_visible("#login") and not page.is_visible("#progress")
    assert fits(page)
