"""Firefox and WebKit on the demo of somebody who may nothing on this host."""

from __future__ import annotations

import pytest

from tests.browsers.test_core import (  # noqa: F401  # the same tests, on another demo
    browser,
    new_tab,
    tab,
    test_a_job_is_shown_to_its_end_and_after_reload_back_and_forward,
    test_a_page_that_loses_webdis_comes_back_by_itself,
    test_two_tabs_show_the_same,
)

JOB_STEPS = 60

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def kit_dir(checkout):
    return checkout / ".kit"
