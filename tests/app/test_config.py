"""What the demo refuses to start with, and the secret that it keeps."""

from __future__ import annotations

import re

import pytest

from demo_app import create_app
from demo_app.config import ENVIRONMENTS, NUMBERS, ConfigurationError, defaults
from kit.checkout import ROOT

GOOD_SECRET = "0123456789abcdef" * 4


def test_production_refuses_a_generated_secret(kit_dir, refusal):
    assert "DEMO_ENV=production needs DEMO_SECRET_KEY" in refusal(DEMO_ENV="production")
    assert not (kit_dir / "secrets" / "flask").exists()


def test_production_refuses_the_secret_that_development_has_kept(kit_dir, refusal):
    create_app({"KIT_DIR": str(kit_dir)})
    assert (kit_dir / "secrets" / "flask").exists()
    assert "needs DEMO_SECRET_KEY" in refusal(DEMO_ENV="production")


@pytest.mark.parametrize("secret", ["dev", "12345678", "x" * 31])
@pytest.mark.parametrize("environment", ["development", "production"])
def test_a_short_secret_is_refused(refusal, environment, secret):
    answer = refusal(DEMO_ENV=environment, DEMO_SECRET_KEY=secret)
    assert f"has {len(secret)} characters" in answer


def test_production_starts_with_a_secret_and_secure_cookies(kit_dir, monkeypatch):
    monkeypatch.setenv("DEMO_ENV", "production")
    monkeypatch.setenv("DEMO_SECRET_KEY", GOOD_SECRET)
    app = create_app({"KIT_DIR": str(kit_dir)})
    assert app.secret_key == GOOD_SECRET
    client = app.test_client()
    cookie = client.get("/own/", base_url="https://demo.test").headers["Set-Cookie"]
    for flag in ("Secure", "HttpOnly", "SameSite=Lax"):
        assert flag in cookie


def test_a_secret_of_digits_keeps_each_of_them(kit_dir, monkeypatch):
    monkeypatch.setenv("DEMO_SECRET_KEY", "0" * 40)
    assert create_app({"KIT_DIR": str(kit_dir)}).secret_key == "0" * 40


def test_the_secret_is_made_once_for_its_owner_alone(kit_dir):
    first, second = (create_app({"KIT_DIR": str(kit_dir)}).secret_key for _ in range(2))
    assert first == second
    assert len(first) == 64
    assert (kit_dir / "secrets" / "flask").stat().st_mode & 0o777 == 0o600


def test_a_secret_that_was_not_written_to_the_end_is_made_again(kit_dir):
    (kit_dir / "secrets" / "flask").write_text("")
    assert len(create_app({"KIT_DIR": str(kit_dir)}).secret_key) == 64


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PORT", "70000", "a whole number from 1 to 65535"),
        ("PORT", "http", "a whole number from 1 to 65535"),
        ("WORKERS", "0", "a whole number from 1 to 16"),
        ("WORKERS", "true", "a whole number from 1 to 16"),
        ("PAUSE_SECONDS", "-1", "a number from 0.0 to 60.0"),
        ("ENV", "staging", "development, production"),
    ],
)
def test_a_wrong_value_is_answered_by_what_is_allowed(refusal, name, value, allowed):
    answer = refusal(**{f"DEMO_{name}": value})
    assert f"DEMO_{name}=" in answer
    assert allowed in answer


def test_an_empty_variable_is_none(kit_dir, monkeypatch):
    monkeypatch.setenv("DEMO_PORT", "")
    assert create_app({"KIT_DIR": str(kit_dir)}).config["PORT"] == 5000


def test_no_instance_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="make up"):
        create_app({"KIT_DIR": str(tmp_path)})


def test_every_setting_is_documented_as_it_is():
    page = (ROOT / "docs/demo.md").read_text()
    rows = dict(re.findall(r"^\| `DEMO_(\w+)` \| (.+?) \| .+? \|", page, re.MULTILINE))
    allowed = dict(re.findall(r"^\| `DEMO_(\w+)` \| .+? \| (.+?) \|", page, re.MULTILINE))
    flask_own = {"BOOTSTRAP_SERVE_LOCAL", "MAX_CONTENT_LENGTH", "WTF_CSRF_TIME_LIMIT"}
    flask_own |= {name for name in defaults() if name.startswith("SESSION_COOKIE")}
    assert rows.keys() == (defaults().keys() - flask_own) | {"SECRET_KEY"}
    for name, (default, least, greatest) in NUMBERS.items():
        assert rows[name] == f"`{default}`"
        assert allowed[name] == f"{least:g} to {greatest:.15g}"
    for name in ("HOST", "ENV", "QUEUE"):
        assert rows[name] == f"`{defaults()[name]}`"
    assert allowed["ENV"] == ", ".join(f"`{name}`" for name in ENVIRONMENTS)
