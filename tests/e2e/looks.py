"""Whether a page is good for everybody: light, dark, read aloud, on a phone. Leaves pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axe_playwright_python.sync_playwright import Axe

from kit.checkout import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = ROOT / "test-results"
MOST_PICTURE_BYTES = 128 * 1024
LAPTOP = {"width": 960, "height": 600}
PHONE = {"width": 360, "height": 740}


def look_at(page: Page, name: str, *schemes: str) -> None:
    """Check the page as it is now, and leave its pictures in ``test-results``.

    Args:
        page: Its size is ``LAPTOP`` afterwards.
        name: Of the pictures.
        schemes: ``light``, ``dark`` or both.

    Raises:
        AssertionError: axe finds something, it is too wide for a phone, or its picture is large.
    """
    PICTURES.mkdir(exist_ok=True)
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size(LAPTOP)
        page.evaluate("scrollTo(0, 0)")
        found = Axe().run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        picture = page.screenshot(path=PICTURES / f"{name}-{scheme}.png")
        assert len(picture) <= MOST_PICTURE_BYTES, name
        page.set_viewport_size(PHONE)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], f"{name} is {width} px wide on a phone"
        page.screenshot(path=PICTURES / f"{name}-{scheme}-phone.png")
        page.set_viewport_size(LAPTOP)
