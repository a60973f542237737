"""One device, talked to: a step for people each, and errors in words."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from netmiko import ConfigInvalidException, NetmikoAuthenticationException, NetmikoTimeoutException
from netmiko.exceptions import NetmikoBaseException
from nornir.core.exceptions import NornirSubTaskError
from nornir.core.task import Result, Task
from nornir_netmiko.tasks import netmiko_send_command, netmiko_send_config
from paramiko import SSHException

from demo_app.devices.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable

READ_SECONDS = 20.0
# The last line of a whole configuration.
LAST_LINE = "end"


class DeviceError(Exception):
    """What is wrong with a device, in words for people; another try would not help."""


class Unreachable(DeviceError):  # noqa: N818  # a state, as people name it
    """It did not answer, or stopped answering: another try may help."""


class Session:
    """Talks to a device, as steps of a Nornir task, so that whatever watches Nornir sees them.

    Args:
        task: The Nornir task of this device.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self.log: list[str] = []

    def connect(self, admit: Callable[[], None]) -> None:
        """Log in.

        Args:
            admit: Returns once one more login is allowed.

        Raises:
            DeviceError: It did not let us in.
        """

        def connecting(task: Task) -> Result:
            admit()
            task.host.get_connection("netmiko", task.nornir.config)
            return Result(host=task.host)

        self._step("connecting", connecting)

    def read(self, command: str, step: str) -> str:
        """Return what a command prints.

        Raises:
            Unreachable: It did not come to a prompt again.
        """
        answer: str = self._step(
            step, netmiko_send_command, command_string=command, read_timeout=READ_SECONDS
        )
        return answer

    def read_json(self, command: str, step: str) -> dict[str, Any]:
        """Return what a command prints as JSON.

        Raises:
            DeviceError: It is no JSON: the answer was cut off, or is an error.
        """
        try:
            found: dict[str, Any] = json.loads(self.read(command, step))
        except ValueError:
            raise DeviceError(f'its answer to "{command}" was cut off') from None
        return found

    def configuration(self) -> str:
        """Return the running configuration, whole and without its secrets.

        Raises:
            DeviceError: It was cut off.
        """
        printed = self.read("show running-config", "reading the configuration")
        lines = [line.rstrip() for line in printed.strip().splitlines()]
        if not lines or lines[-1] != LAST_LINE:
            raise DeviceError('its configuration was cut off: it does not end with "end"')
        first = next((n for n, line in enumerate(lines) if line == "!"), 0)
        return redact("\n".join(lines[first:])) + "\n"

    def configure(self, lines: list[str], step: str) -> None:
        """Enter configuration lines.

        Raises:
            DeviceError: It refused one of them.
        """
        self._step(step, netmiko_send_config, config_commands=lines, error_pattern=r"^%.*$")

    def _step(self, name: str, function: Callable[..., Result], **arguments: object) -> Any:  # noqa: ANN401  # as the step returns it
        began = time.monotonic()
        try:
            result = self._task.run(function, name=name, **arguments)
        except NornirSubTaskError as failed:
            error = failed.result.exception
            words = _in_words(name, error) if error else DeviceError(f"failed while {name}")
            self.log.append(f"{name}: {words}")
            raise words from None
        self.log.append(f"{name}: {time.monotonic() - began:.1f} s")
        return result.result


# In this order: Netmiko's own are of Paramiko's kinds, too.
_WORDS: tuple[tuple[tuple[type[BaseException], ...], type[DeviceError], str], ...] = (
    ((NetmikoAuthenticationException,), DeviceError, "it refuses the key"),
    ((NetmikoTimeoutException,), Unreachable, "it does not answer"),
    ((ConfigInvalidException,), DeviceError, "it refuses a line of the change"),
    ((NetmikoBaseException,), Unreachable, "it stopped answering while {step}"),
    ((SSHException,), Unreachable, "it speaks no SSH, or is not who it should be"),
    ((OSError, EOFError), Unreachable, "the connection was lost while {step}"),
)


def _in_words(step: str, error: BaseException) -> DeviceError:
    """Say what an exception of Netmiko or Paramiko means; their own texts go to nobody."""
    for kinds, kind, words in _WORDS:
        if isinstance(error, kinds):
            return kind(words.format(step=step))
    return DeviceError(f"an error of the program while {step}: {type(error).__name__}")
