"""The report's page in a real browser: whole, alone, readable in both schemes, unharmed."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import chromium
from tests.support.hostile_sweep import CLASSES, NAME, REASON, SCRIPT, hostile_sweep
from toprung.analysis.findings.results import Results
from toprung.analysis.report.page import Report
from toprung.analysis.sweep import Sweep

LAPTOP, PHONE = 1280, 390
A4 = 688  # within the page's margins
CUT = "boxes => boxes.filter(box => box.scroll{0} > box.client{0} + 1).length"
READABLE = 4.5  # WCAG 2: the least contrast of text, level AA


class Reported(NamedTuple):
    sweep: Sweep
    report: Report


class Opened(NamedTuple):
    page: Page
    complaints: list[str]
    requests: list[str]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        sweep = hostile_sweep(tmp_path_factory.mktemp("sweeps"))
        return Reported(sweep, sweep.report())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def opened(browser: Browser, reported: Reported) -> Iterator[Opened]:
    """The page as it is opened, with all that the browser complained of and asked for."""
    page = browser.new_page(viewport={"width": LAPTOP, "height": 900})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(reported.report.path.as_uri(), wait_until="networkidle")
    yield Opened(page, complaints, requests)
    page.close()


@pytest.fixture
def page(opened: Opened) -> Page:
    opened.page.set_viewport_size({"width": LAPTOP, "height": 900})
    opened.page.emulate_media(media="screen", color_scheme="light")
    return opened.page


def test_every_part_was_drawn(reported: Reported, page: Page) -> None:
    assert reported.report.problems == ()
    assert page.locator(".problem").count() == 0
    assert page.locator("svg[role=img][aria-label]").count() > 8


def test_nothing_is_complained_of_and_nothing_is_asked_for(
    opened: Opened, reported: Reported
) -> None:
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [
        reported.report.path.as_uri()
    ]


def test_no_script_runs_and_no_request_leaves_even_if_one_came_in(
    browser: Browser, reported: Reported
) -> None:
    page = browser.new_page()
    page.goto(reported.report.path.as_uri())
    refused: list[str | None] = []
    page.on("requestfailed", lambda request: refused.append(request.failure))
    page.evaluate(
        """() => {
          const script = document.createElement('script');
          script.textContent = "document.title = 'owned'";
          document.body.append(script);
          document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/a.png'}));
        }"""
    )
    page.wait_for_load_state("networkidle")
    assert page.title() == f"{NAME} · Toprung report"
    assert refused == ["csp"]
    page.close()


def test_the_figures_are_there_as_text(reported: Reported, page: Page) -> None:
    results = Results(reported.sweep)
    assert results.opening is not None
    assert results.winner is not None
    assert results.winner.best is not None
    answer = page.locator("#answer").inner_text()
    for figure in (
        results.opening.accuracy,
        results.opening.loss,
        results.winner.best.val_accuracy,
        results.winner.best.val_loss,
        results.winner.best.train_accuracy,
    ):
        assert f"{figure:.4f}" in answer
    assert f"Trial {results.winner.number}, after epoch" in answer
    assert str(reported.sweep.folder.best / "trial.yaml") in answer
    contents = page.locator("nav a").all_inner_texts()
    assert contents == page.locator("section > h2").all_inner_texts()
    assert contents[0] == "The answer"


class TestHostileTexts:
    def test_nothing_of_them_becomes_an_element(self, page: Page) -> None:
        assert page.title() == f"{NAME} · Toprung report"
        assert page.locator("script").count() == 0
        sources = page.locator("img").evaluate_all("images => images.map(image => image.src)")
        assert all(source.startswith("data:") for source in sources)
        handlers = "*:is([onerror], [onload], [onclick])"
        assert page.locator(handlers).count() == 0

    def test_they_are_shown_as_they_are(self, page: Page) -> None:
        text = page.locator("body").text_content() or ""
        for written in (NAME, SCRIPT, REASON, *CLASSES):
            assert written.strip() in text

    def test_they_are_shown_in_pictures(self, page: Page) -> None:
        words = " ".join(page.locator("svg text").all_text_contents())
        assert SCRIPT[:20] in words
        assert "$x^$"[:3] in words or '"quoted" &' in words


@pytest.mark.parametrize("width", [LAPTOP, PHONE])
def test_the_page_is_no_wider_than_its_window(width: int, page: Page) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [LAPTOP, 1024])
def test_tables_of_ten_columns_are_whole(width: int, page: Page) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    tables = page.locator("#part-openings .scroll, #part-worth_table .scroll")
    assert tables.count() == 2
    assert tables.evaluate_all(CUT.format("Width")) == 0


def _luminance(red: float, green: float, blue: float) -> float:
    """Relative luminance of an sRGB colour (0..255), as WCAG 2 defines it."""
    shares = [value / 255 for value in (red, green, blue)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: list[float], other: list[float]) -> float:
    lights = sorted((_luminance(*one[:3]), _luminance(*other[:3])))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


COLOURS_OF_TEXT = """
() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const pixel = colour => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = pixel(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
  };
  const found = new Map();
  for (const element of document.querySelectorAll('body *, svg text')) {
    const words = [...element.childNodes].filter(n => n.nodeType === 3 && n.data.trim());
    const svg = element.closest('svg');
    if (!words.length || (svg && element.tagName !== 'text')) continue;
    const style = getComputedStyle(element);
    const colours = [pixel(svg ? style.fill : style.color), behind(element)];
    found.set(JSON.stringify([!!svg, ...colours]), words[0].data.trim());
  }
  return [...found].map(([colours, words]) => [...JSON.parse(colours), words]);
}
"""
"""Each pair of colours of text on the page: in an SVG?, text, behind it, the words."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(scheme: str, page: Page) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    found = page.evaluate(COLOURS_OF_TEXT)
    assert len({in_svg for in_svg, *_ in found}) == 2
    dark = [_luminance(*behind[:3]) < 0.2 for _, _, behind, _ in found]
    assert all(dark) if scheme == "dark" else not any(dark)
    white_on_heat = [254, 254, 254, 255]
    pale = [
        (text, behind, words)
        for _, text, behind, words in found
        if text != white_on_heat and _contrast(text, behind) < READABLE
    ]
    assert not pale


class TestInPrint:
    def test_it_is_on_white_and_whole(self, page: Page) -> None:
        page.emulate_media(media="print", color_scheme="dark")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert colour == "rgb(255, 255, 255)"
        assert not page.locator("nav").is_visible()
        assert page.locator(".scroll, pre").evaluate_all(CUT.format("Height")) == 0
        page.set_viewport_size({"width": A4, "height": 900})
        assert page.locator(".scroll").evaluate_all(CUT.format("Width")) == 0
        assert page.locator("details pre").first.is_visible()

    def test_as_pdf(self, page: Page, tmp_path: Path) -> None:
        page.pdf(path=tmp_path / "report.pdf", format="A4")
        assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
