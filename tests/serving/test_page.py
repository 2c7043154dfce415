"""The page in a real browser; needs playwright and a Chromium."""

import os
import pathlib
import shutil

import pytest

ATTACK = '<script>document.title="owned"</script>"><img src=x onerror=alert(1)>'
SCREENSHOTS = "REALM_TF_SCREENSHOTS"  # folder to keep pictures in


def find_chromium():
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on the PATH: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, server):
    """Opens the page; what it complains about fails the test."""
    problems, contexts = [], []

    def open_it(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(300_000)
        page.on(
            "console",
            lambda m: (
                "status of 400" in m.text  # tests ask for some
                or problems.append((m.type, m.text))
            ),
        )
        page.on("pageerror", lambda e: problems.append(("error", str(e))))
        page.on("dialog", lambda d: problems.append(("dialog", d.message)))
        page.on(
            "request",
            lambda r: (
                r.url.startswith(server.url)
                or problems.append(("foreign", r.url))
            ),
        )
        page.goto(server.url)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not problems


def ask(page, question):
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    page.get_by_text("Answered by index version").wait_for()


def add(page, name, title, text):
    summary = page.get_by_text("Add a document", exact=True)
    if not page.get_by_label("Title").is_visible():
        summary.click()
    page.get_by_label("Identity").fill(name)
    page.get_by_label("Title").fill(title)
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_label("Token").fill("secret")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("can be asked about").wait_for()


def test_answer_is_marked_in_its_evidence(open_page, served_qa):
    page = open_page()
    expected = served_qa.ask("When was the school of Rome founded?")
    ask(page, expected.question)
    assert page.locator("h2").inner_text() == expected.text
    assert page.locator("mark").inner_text() == expected.text
    text = page.locator("#text").text_content()
    assert text == expected.block.text
    assert page.locator("#blocks li").count() == 5
    assert page.locator("#alternatives li").count() == 4
    meters = page.locator("#blocks meter")
    first = float(meters.first.get_attribute("value"))
    assert first > 0 and "p(z|x)" in meters.first.get_attribute("aria-label")
    assert page.evaluate("document.activeElement.id") == "answer"


def test_no_answer_is_shown_as_such(open_page):
    page = open_page()
    page.get_by_text("Options").click()
    page.get_by_label("Probability an answer needs").fill("1")
    ask(page, "who?")
    assert page.locator("h2").inner_text() == "No answer"
    assert "Best guess" in page.locator("#confidence").inner_text()


def test_emptied_options_are_the_defaults(open_page):
    page = open_page()
    page.get_by_text("Options").click()
    page.get_by_label("Probability an answer needs").fill("")
    page.get_by_label("Blocks to retrieve").fill("")
    ask(page, "who?")
    assert page.locator("h2").inner_text() not in ("", "No answer")


def test_blocks_without_a_leading_answer_say_so(open_page, server):
    page = open_page()
    page.get_by_text("Options").click()
    page.get_by_label("Blocks to retrieve").fill("7")
    ask(page, "who?")  # of which three are read
    notes = page.get_by_text("no leading answer in this block")
    assert notes.count() + page.get_by_text("reads:").count() == 7
    assert notes.count() >= 4


def test_added_document_can_be_asked_about(open_page, server):
    page = open_page()
    page.get_by_text("Index version 1").wait_for()
    before = server.service.index.in_use.num_blocks
    add(page, "new", "New", "People were in Sofia in 1888.")
    page.get_by_text(f"{before + 1} blocks").first.wait_for()
    assert page.evaluate("document.activeElement.id") == "question"
    page.get_by_role("button", name="Delete this identity").click()
    page.get_by_text("new is deleted").wait_for()
    assert server.service.index.in_use.num_blocks == before


def test_markup_in_documents_and_questions_is_text(open_page, server):
    """H8."""
    page = open_page()
    server.service.index.delete(
        {block.document_id for block in server.service.index.in_use.corpus}
    )
    add(page, ATTACK, ATTACK, f"In 1815 {ATTACK} was in Rome. {ATTACK}")
    ask(page, f"Who was in {ATTACK}?")
    assert page.title() == "Ask the documents"
    assert page.locator("#result img, #result script").count() == 0
    assert ATTACK in page.locator("#text").text_content()
    assert ATTACK in page.locator("#asked").text_content()
    assert ATTACK in page.locator("#source").text_content()
    assert page.locator("#blocks").get_by_text(ATTACK).count()


def test_errors_of_the_service_are_shown(open_page):
    page = open_page()
    page.get_by_text("Index version 1").wait_for()
    page.get_by_label("Question", exact=True).fill("?!")
    with page.expect_response("**/v1/ask"):
        page.keyboard.press("Enter")
    page.get_by_text("letter or a digit").wait_for()


def test_everything_is_reached_by_keyboard(open_page):
    page = open_page()
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.tagName"
            )
        )
    assert reached[:3] == ["A", "question", "send"]
    assert {"SUMMARY"} <= set(reached)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 400])
def test_text_stands_out_and_fits(open_page, scheme, width):
    page = open_page(
        color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    ask(page, "When was the school of Rome founded?")
    assert page.evaluate(
        "document.documentElement.scrollWidth <= window.innerWidth"
    )
    for selector in ("h1", "h2", "#text", "mark", ".note", "#send", "summary"):
        assert contrast(page, selector) >= 4.5, selector
    folder = os.environ.get(SCREENSHOTS)
    if folder:
        name = pathlib.Path(folder) / f"page-{scheme}-{width}.png"
        page.screenshot(path=name, full_page=True)


def contrast(page, selector):
    """Ratio of WCAG 2.2 between a text and what is behind it."""
    front, back = page.locator(selector).first.evaluate(
        """element => {
          const front = getComputedStyle(element).color;
          let back = element;
          const none = "rgba(0, 0, 0, 0)";
          while (getComputedStyle(back).backgroundColor === none)
            back = back.parentElement;
          return [front, getComputedStyle(back).backgroundColor];
        }"""
    )
    light, dark = sorted((luminance(front), luminance(back)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour):
    channels = colour[colour.index("(") + 1 : -1].split(",")[:3]
    linear = []
    for channel in map(float, channels):
        share = channel / 255
        linear.append(
            share / 12.92
            if share <= 0.04045
            else ((share + 0.055) / 1.055) ** 2.4
        )
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
