"""Take the picture of a report that the README shows: its first figures, and one picture.

toprung run digits_cnn --name demo --confirm 2
python -m docs.report_picture sweeps/demo docs/report.png
"""

import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from tests.support.browser import chromium

WIDTH, HEIGHT = 1000, 700  # CSS pixels
SHOWN = ("#part-figures", "#part-metric_against_time", "#part-rungs_picture")
"""The parts of the page that are shown, from top to bottom."""
MARGIN = 24
COLOURS = 128  # few enough for a file below 150 kB


def take_picture(sweep: Path, target: Path) -> None:
    """Save these parts of a sweep's report, one below the other, as a PNG of few colours."""
    report = sweep.resolve() / "report" / "report.html"
    with chromium() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(report.as_uri())
        parts = [Image.open(BytesIO(page.locator(part).screenshot())) for part in SHOWN]
    width = max(part.width for part in parts) + 2 * MARGIN
    height = sum(part.height + MARGIN for part in parts) + MARGIN
    picture = Image.new("RGB", (width, height), "white")
    top = MARGIN
    for part in parts:
        picture.paste(part, (MARGIN, top))
        top += part.height + MARGIN
    picture.quantize(COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]), Path(sys.argv[2]))
