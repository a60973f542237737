"""The dashboard for Grafana is what its program makes."""

from __future__ import annotations

import importlib.util

from kit.checkout import ROOT


def load():
    spec = importlib.util.spec_from_file_location("dashboard", ROOT / "docs/dashboard/make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_dashboard_is_current():
    made = load()
    assert made.FILE.read_text() == made.text(), "`make dashboard` writes it again"
