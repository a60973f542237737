"""What a run and a task have in common: a bar, its numbers, and the events that tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, TypeVar

from webdis_progress import _event
from webdis_progress._errors import CancelledError, EndedError
from webdis_progress._event import TERMINAL, Message

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import SupportsIndex

Sent = TypeVar("Sent")  # the number of an event, or for asyncio an awaitable of it


class Content(NamedTuple):
    """What an event is made of, checked.

    Attributes:
        kind: Its kind.
        text: Its text.
        more: JSON of its level and its data.
        current: Steps done from now on; none: as before.
        step: How many more are done.
    """

    kind: str
    text: str
    more: tuple[str, str] = ("", "")
    current: int | None = None
    step: int = 0


class Bar(Generic[Sent]):
    """The events of one bar. `Progress` and `Task` are these, as are those of asyncio.

    Every method that publishes takes ``level`` (``debug``, ``info``, ``warning``, ``error``)
    and ``data`` (what JSON can carry, at most 8 KiB). It returns the event's number. That is 0
    where the event waits: within a batch, or where Redis is away and nothing is required.

    Raises:
        TypeError, ValueError: A value is not allowed; the message names it.
        EndedError: The stream, or the task, has ended.
        NotSentError: Redis was away for ``patience_seconds``, or refused, and the
            events are required.
    """

    # What ends it in `cancelled`; a generator that is left early has not failed.
    _stops: tuple[type[BaseException], ...] = (CancelledError, GeneratorExit)

    def __init__(
        self, field: bytes, names: str, total: SupportsIndex | None, texts: tuple[str, str]
    ) -> None:
        self._field = field
        self._names = names
        self._started_text = _event.text("started_text", texts[0])
        self._done_text = _event.text("done_text", texts[1])
        self._current: int | None = None
        self._total: int | None = None
        self.total = total
        self._tracks: dict[int, object] = {}  # that are at work on it: the first is its own
        self._tracked = False  # by one, at least

    @property
    def current(self) -> int | None:
        """Steps done, as far as this writer knows; none: not known."""
        return self._current

    @current.setter
    def current(self, value: SupportsIndex | None) -> None:
        self._current = None if value is None else _event.integer("current", value)

    @property
    def total(self) -> int | None:
        """Steps that there are; none: not known."""
        return self._total

    @total.setter
    def total(self, value: SupportsIndex | None) -> None:
        self._total = None if value is None else _event.integer("total", value)

    def started(
        self, text: str = "", *, level: str | None = None, data: Mapping[str, Any] | None = None
    ) -> Sent:
        """Publish that it has begun; without a text, the one given when the bar was made."""
        return self._publish(
            self._content("started", _event.text("text", text) or self._started_text, level, data)
        )

    def update(
        self,
        current: SupportsIndex,
        text: str = "",
        *,
        level: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Sent:
        """Publish how many steps are done.

        Args:
            current: Steps done, from 0 to 2^53 - 1; of any integer type.
            text: What is being done.
            level: How much it matters.
            data: For programs.
        """
        number = _event.integer("current", current)
        return self._publish(self._content("progress", text, level, data, current=number))

    def advance(
        self,
        n: SupportsIndex = 1,
        text: str = "",
        *,
        level: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Sent:
        """Publish that ``n`` more steps are done; threads may do so at the same time.

        Args:
            n: How many.
            text: What is being done.
            level: How much it matters.
            data: For programs.
        """
        step = _event.integer("n", n)
        return self._publish(self._content("progress", text, level, data, step=step))

    def message(
        self, text: str, *, level: str | None = None, data: Mapping[str, Any] | None = None
    ) -> Sent:
        """Publish a text.

        Args:
            text: Any text. NUL and lone surrogates are replaced, and what is too
                long is cut and ends in an ellipsis.
            level: How much it matters.
            data: For programs.
        """
        return self._publish(self._content("message", text, level, data))

    def done(
        self, text: str = "", *, level: str | None = None, data: Mapping[str, Any] | None = None
    ) -> Sent:
        """Publish that it is complete, and end it."""
        return self._publish(
            self._content("done", _event.text("text", text) or self._done_text, level, data)
        )

    def failed(
        self,
        error: str | BaseException,
        *,
        level: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Sent:
        """Publish that it has failed, and end it.

        Args:
            error: A text for people. Of an exception only the class is published:
                its text may hold what is none of the reader's business.
            level: How much it matters.
            data: For programs.
        """
        if isinstance(error, BaseException):
            error = f"Failed: {type(error).__name__}"
        return self._publish(self._content("failed", _event.text("error", error), level, data))

    def skipped(
        self,
        text: str = "Skipped",
        *,
        level: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Sent:
        """Publish that there was nothing to do, and end it."""
        return self._publish(self._content("skipped", text, level, data))

    def cancelled(
        self,
        text: str = "Cancelled",
        *,
        level: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> Sent:
        """Publish that it was stopped on request, and end it."""
        return self._publish(self._content("cancelled", text, level, data))

    def _end(self, error: BaseException | None) -> Sent:
        """Publish the end that the block comes to."""
        if error is None:
            return self.done()
        if isinstance(error, self._stops):
            return self.cancelled()
        if cause := self._tried_again_after(error):
            words = f"Failed: {type(cause).__name__}; it will be tried again"
            return self.message(words, level="warning")
        return self.failed(error)

    def _tried_again_after(self, error: BaseException) -> BaseException | None:  # noqa: ARG002  # of those that are
        """Return why the block has failed, if it is no end: for bridges to queues."""
        return None

    def _begin(self, total: SupportsIndex | None) -> None:
        """Count from 0 again. A total that is not known is the bar's own the first time only."""
        if total is not None or self._tracked:
            self.total = total
        self._tracked = True
        self.current = 0

    @property
    def _whole(self) -> Any:  # noqa: ANN401  # a Progress, or that of asyncio
        """The run, of which this is a task or which this is."""
        raise NotImplementedError

    def _publish(self, content: Content) -> Sent:
        raise NotImplementedError

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied: two of one writer would take each other's messages for their own.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            f"{type(self).__name__} cannot be copied or pickled; "
            "make another one of the same channel where it is needed"
        )

    @staticmethod
    def _content(  # noqa: PLR0913  # as those that publish are given them
        kind: str,
        text: str,
        level: str | None,
        data: Mapping[str, Any] | None,
        *,
        current: int | None = None,
        step: int = 0,
    ) -> Content:
        more = ("", "")
        if level is not None or data is not None:
            more = (_event.level_json(level), _event.data_json(data))
        return Content(kind, _event.text("text", text), more, current, step)

    def _make(self, content: Content, ts: str) -> Message:
        """Take over what an event says of the bar, and return the event."""
        if content.current is not None:
            self._current = content.current
        elif content.step:
            self.current = (self._current or 0) + content.step
        return _event.message(
            self._field,
            self._names,
            ts,
            content.kind,
            content.text,
            numbers=(self._current, self._total),
            more=content.more,
        )


class TaskBar(Bar[Sent]):
    """A task of a run: its own bar, its own end.

    Args:
        run: Whose task it is.
        name: Of 1 to 200 characters; two tasks of the same name are one.
        total: How many steps there are, if it is known.
        label: What it is called for people; without one, its name.
        started_text: What `started` says.
        done_text: What `done` says.
    """

    def __init__(  # noqa: PLR0913  # as `Progress.task` takes them
        self,
        run: Any,  # noqa: ANN401  # a RunBar; it makes this
        name: str,
        total: SupportsIndex | None = None,
        *,
        label: str | None = None,
        started_text: str = "",
        done_text: str = "",
    ) -> None:
        names = f', "task": {_event.short_text("task", _event.key("task", name))}'
        if label is not None:
            names += f', "label": {_event.short_text("label", label)}'
        super().__init__(f"task:{name}".encode(), names, total, (started_text, done_text))
        self.name = name
        self._run = run
        self._counted = False  # by the run's bar
        self._ended = ""

    @property
    def ended(self) -> str:
        """How it has ended: a kind of event, empty while it has not."""
        return self._ended

    @property
    def _whole(self) -> Any:  # noqa: ANN401  # as above
        return self._run

    def _publish(self, content: Content) -> Sent:
        sent: Sent = self._run._publish_of(self, content)  # noqa: SLF001  # this package's own
        return sent

    def _check(self, kind: str) -> None:
        if self._ended and kind != "started":
            raise EndedError(f"Task {self.name!r} has ended ({self._ended}); nothing may follow.")

    def _make(self, content: Content, ts: str) -> Message:
        self._check(content.kind)
        message = super()._make(content, ts)
        self._ended = content.kind if content.kind in TERMINAL else ""
        return message
