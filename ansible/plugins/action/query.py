"""Ask the server a question by its shell; the module of this name documents it."""

from __future__ import annotations

import shlex
from typing import Any, ClassVar

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    """Runs a command that only reads, without a module of Python on the server."""

    TRANSFERS_FILES = False
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {"cmd": {"type": "str", "required": True}}

    def ask(self, cmd: str) -> dict[str, Any]:
        """Return rc, stdout and stderr of a command, and `failed` and `msg` where rc is not 0."""
        # Read whole before it runs, so that no command takes a part of it for its own input.
        script = f"export LC_ALL=C.UTF-8\n{{\n{cmd}\n}} </dev/null"
        become = self._connection.become
        shell = self._connection._shell  # noqa: SLF001  # Ansible's own actions do so, too
        if self._connection.has_pipelining and (not become or become.pipelining):
            # By standard input SSH makes no terminal, for which programs page, colour and wrap.
            answer = self._low_level_execute_command("/bin/sh -s", in_data=script.encode())
        else:  # by a file, as everybody may read a command line
            self._make_tmp_path()
            path = shell.join_path(shell.tmpdir, "script")
            self._transfer_data(path, script)
            self._fixup_perms2((shell.tmpdir, path))
            answer = self._low_level_execute_command(f"/bin/sh {shlex.quote(path)}")
            self._remove_tmp_path(shell.tmpdir)
        answer |= {name: answer[name].rstrip("\r\n") for name in ("stdout", "stderr")}
        if answer["rc"]:
            answer |= {
                "failed": True,
                "msg": f"It ended with status {answer['rc']}: {answer['stderr']}",
            }
        return answer | {"changed": False}

    def answer(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return what the task registers."""
        return self.ask(options["cmd"])

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run the task.

        Args:
            tmp: Ansible's own; nothing is copied.
            task_vars: The variables of the task.

        Raises:
            AnsibleActionFail: An argument is missing or unknown.
        """
        super().run(tmp, task_vars)
        return self.answer(self.validate_argument_spec(self.ARGUMENTS)[1])
