"""The page of status, which goes on by itself."""

from __future__ import annotations

import re

from playwright.sync_api import expect


def fact(page, name):
    return page.locator(f'[data-fact="{name}"]')


def test_it_shows_how_everything_is_and_goes_on_by_itself(demo, browser, instance, redis_service):
    page = browser.new_page()
    try:
        page.goto(f"{demo.health_url}/status/")
        expect(fact(page, "server")).to_contain_text(instance["redis"]["version"])
        expect(fact(page, "nodes")).to_have_text(f"{instance['nodes'][0]['name']}: primary")
        expect(page.locator("#state")).to_have_text("connected")
        expect(fact(page, "workers")).to_have_text("2", timeout=30_000)
        demo.visitor().post("/shared/")
        points = page.locator("#sparkline polyline")
        expect(points).to_have_attribute("points", re.compile(r"\.\d"), timeout=30_000)
        redis_service.restart()
        news = page.locator("#news li").first
        expect(news).to_contain_text("Redis was started again", timeout=60_000)
        expect(page.locator("#state")).to_have_text("connected", timeout=30_000)
    finally:
        page.close()
