"""What these tests share."""

from tests.surroundings.desktop import host  # noqa: F401  # a fixture
