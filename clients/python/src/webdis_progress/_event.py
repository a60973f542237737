"""What an event is: its limits, what may be put into it, and its JSON."""

from __future__ import annotations

import bisect
import hashlib
import json
import numbers
import operator
import time
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as _json  # json.dumps looks at its options
from typing import Any, NamedTuple, SupportsIndex

from webdis_progress._limits import (
    INTEGER_LIMIT,
    MAX_DATA_BYTES,
    MAX_NAME_LENGTH,
    MAX_STATE_BYTES,
    MAX_STATE_TEXT_BYTES,
    MAX_TEXT_BYTES,
)

TERMINAL = ("done", "failed", "cancelled", "skipped")
"""Kinds of an event that ends its task, or the run."""
LEVELS = ("debug", "info", "warning", "error")
"""How much an event may matter."""
RUN = b"run"  # the bar of the run itself

_strict_json = json.JSONEncoder(allow_nan=False, separators=(", ", ": ")).encode


class Message(NamedTuple):
    """An event on its way, as Redis is sent it.

    Attributes:
        bar: The field of the state that it is the last of.
        fields: Its JSON, but for the opening brace, number and epoch.
        brief: The same for the state, where it is too long for it; else empty.
        kind: Its kind.
        size: How many bytes it needs, about.
    """

    bar: bytes
    fields: bytes
    brief: bytes
    kind: str
    size: int

    def content(self) -> dict[str, Any]:
        """Return the event as far as it is known before it is sent."""
        content: dict[str, Any] = json.loads(b"{" + self.fields)
        return content


def text(name: str, value: object) -> str:
    """Return ``value`` if it is a string.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}; a string is needed")
    return value


def of_type(name: str, value: object, *types: type) -> None:
    """Refuse a value of another type; its text may hold a password.

    Raises:
        TypeError: It is of none of them.
    """
    if not isinstance(value, types):
        known = " or ".join(f"a {one.__name__}" for one in types)
        raise TypeError(f"{name} is of the type {type(value).__name__}; {known} is needed")


def key(name: str, value: object) -> str:
    """Return ``value`` if Redis can have it in a key.

    Raises:
        TypeError: It is no string.
        ValueError: It is empty, or has lone surrogates.
    """
    words = encodable(name, value)
    if not words:
        raise ValueError(f"{name} is empty; 1 character or more are needed")
    return words


def encodable(name: str, value: object) -> str:
    """Return ``value`` if Redis can be sent it.

    Raises:
        TypeError: It is no string.
        ValueError: It has lone surrogates.
    """
    words = text(name, value)
    try:
        words.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} is {words!r}; lone surrogates are not text") from None
    return words


def number(name: str, value: float, *, least: float) -> float:
    """Return ``value`` if it is a number, and not below ``least``.

    Raises:
        TypeError: It is no number.
        ValueError: It is too small, or not a number by its own name.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):  # numpy's, too
        raise TypeError(f"{name} is {value!r}; a number is needed")
    if not value >= least:  # nan is neither
        raise ValueError(f"{name} is {value}; it must be {least} or more")
    return value


def integer(name: str, value: SupportsIndex) -> int:
    """Return ``value``, of any integer type, as an int.

    Raises:
        TypeError: It is no integer.
        ValueError: It is negative, or 2^53 or more.
    """
    try:
        if isinstance(value, bool):
            raise TypeError  # noqa: TRY301  # said once, below
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; an integer is needed") from None
    if not 0 <= number < INTEGER_LIMIT:
        raise ValueError(f"{name} is {number}; it must be from 0 to 2^53 - 1")
    return number


def short_text(name: str, value: object) -> str:
    """Return the JSON of a name of 1 to 200 characters.

    Raises:
        TypeError, ValueError: It is no string, empty, or longer.
    """
    if not 0 < len(text(name, value)) <= MAX_NAME_LENGTH:
        raise ValueError(
            f"{name} has {len(str(value))} characters; 1 to {MAX_NAME_LENGTH} are allowed"
        )
    return literal(str(value), MAX_TEXT_BYTES)


def short_name(name: object) -> str:
    """Return what another program calls something, as a task may be called.

    Where it is too long it is cut, and is still no other's.
    """
    words = str(name).encode(errors="backslashreplace").decode() or "?"
    if len(words) <= MAX_NAME_LENGTH:
        return words
    end = f"\N{HORIZONTAL ELLIPSIS}{hashlib.sha256(words.encode()).hexdigest()[:8]}"
    return words[: MAX_NAME_LENGTH - len(end)] + end


def level_json(level: str | None) -> str:
    """Return the JSON of a level with what goes before it.

    Raises:
        ValueError: It is none of `LEVELS`.
    """
    if level is None:
        return ""
    if level not in LEVELS:
        raise ValueError(f"level is {level!r}; it has to be one of {', '.join(LEVELS)}")
    return f', "level": "{level}"'


def data_json(data: Mapping[str, Any] | None) -> str:
    """Return the JSON of an event's data with what goes before it.

    Raises:
        TypeError: It is no mapping, or has something that JSON cannot carry.
        ValueError: It has NaN or Infinity, or its JSON is too long.
    """
    if data is None:
        return ""
    if not isinstance(data, Mapping):
        raise TypeError(f"data is {data!r}; a mapping is needed")
    try:
        encoded = _strict_json(dict(data))
    except TypeError as error:
        raise TypeError(f"data has what JSON cannot carry: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"data has what JSON cannot carry: {error}") from None
    if len(encoded) > MAX_DATA_BYTES:
        raise ValueError(f"data has {len(encoded)} bytes as JSON; {MAX_DATA_BYTES} are allowed")
    return f', "data": {encoded}'


def literal(value: str, room: int) -> str:
    """Return the JSON of a text, with what cannot be carried replaced or cut, visibly.

    Args:
        value: Any string.
        room: How many bytes it may need.
    """
    encoded = _json(value[:room])
    if "\\u" in encoded:
        # Webdis cuts a message at NUL; lone surrogates are not text.
        value = value[:room].replace("\0", "\N{SYMBOL FOR NULL}")
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        encoded = _json(value)
    if len(encoded) <= room:
        return encoded
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    room -= len(_json(ellipsis))
    lengths = range(len(value))
    fitting = bisect.bisect_right(lengths, room, key=lambda length: len(_json(value[:length])))
    return _json(value[: fitting - 1] + ellipsis)


class Clock:
    """Writes the present moment; faster than isoformat, as a second's date is kept."""

    def __init__(self) -> None:
        self._second, self._date = -1, ""

    def now(self) -> str:
        """Return the time, UTC, as ISO 8601 with milliseconds."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._date}.{int((now - second) * 1000):03}Z"


def message(  # noqa: PLR0913  # an event has so many parts
    bar: bytes,
    names: str,
    ts: str,
    kind: str,
    words: str,
    *,
    numbers: tuple[int | None, int | None],
    more: tuple[str, str] = ("", ""),
) -> Message:
    """Put an event together by hand: it takes a quarter of the time of json.dumps.

    Args:
        bar: ``run`` or ``task:NAME``.
        names: JSON of the task's name and label, with what goes before it.
        ts: When.
        kind: What.
        words: Its text.
        numbers: Steps done and steps there are.
        more: JSON of the level and of the data.
    """
    level, data = more
    current, total = numbers
    start = f'"ts": "{ts}", "kind": "{kind}", "text": '
    end = (
        f', "current": {"null" if current is None else current}, '
        f'"total": {"null" if total is None else total}{names}{level}'
    )
    taken = len(names) + len(data)
    encoded = literal(words, MAX_TEXT_BYTES - taken)
    fields = f"{start}{encoded}{end}{data}}}"
    if len(fields) <= MAX_STATE_BYTES:
        return Message(bar, fields.encode(), b"", kind, len(fields))
    encoded = literal(words, MAX_STATE_TEXT_BYTES)
    brief = f"{start}{encoded}{end}"
    brief += data + "}" if len(brief) + len(data) < MAX_STATE_BYTES else "}"
    return Message(bar, fields.encode(), brief.encode(), kind, len(fields) + len(brief))


def is_event(value: object) -> bool:
    """Tell whether a reader can use what an entry of a stream holds."""
    if not isinstance(value, dict):
        return False
    numbers = (value.get("current"), value.get("total"))
    return (
        _is_number(value.get("seq"))
        and all(isinstance(value.get(name), str) for name in ("epoch", "ts", "kind", "text"))
        and all(number is None or _is_number(number) for number in numbers)
        and isinstance(value.get("task", ""), str)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < INTEGER_LIMIT
