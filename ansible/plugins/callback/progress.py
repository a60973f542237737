"""A bar for each host of a playbook, and a line for each task."""

DOCUMENTATION = r"""
name: progress
type: notification
short_description: A bar for each host and a line for each task, live on a page
description:
  - Publishes through Redis. Of results it is their kind only, never what a host has said.
  - A playbook never fails because of this. While Redis is away, messages wait.
version_added: 0.1.0
author: The webdis-kit authors (@webdis-kit)
requirements: [the Python package webdis-progress where Ansible runs, C(callbacks_enabled)]
options:
  channel:
    description: Name of the channel, for example C(progress:) and 128 random bits.
    required: true
    env: [{name: WEBDIS_PROGRESS_CHANNEL}]
    ini: [{section: callback_progress, key: channel}]
  redis_url:
    description: Where Redis is and who logs in, as redis-py's C(Redis.from_url) takes it.
    default: redis://127.0.0.1:6379
    env: [{name: WEBDIS_PROGRESS_REDIS_URL}]
    ini: [{section: callback_progress, key: redis_url}]
  whole_run:
    description: The playbook is the whole run. If not, who starts it begins and ends the run.
    type: bool
    default: true
    env: [{name: WEBDIS_PROGRESS_WHOLE_RUN}]
    ini: [{section: callback_progress, key: whole_run}]
"""

import atexit

from ansible.errors import AnsibleError

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Is told what happens by Ansible's main process, one call at a time."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "webdis_kit.server.progress"
    CALLBACK_NEEDS_ENABLED = True

    def set_options(self, *args, **kwargs):
        super().set_options(*args, **kwargs)
        try:
            from webdis_progress.bridges.ansible import PlaybookProgress  # noqa: PLC0415

            self._playbook = PlaybookProgress(**self.get_options())
        except (ImportError, ValueError) as error:
            missing = "The Python package webdis-progress is missing or too old where Ansible runs."
            raise AnsibleError(missing if isinstance(error, ImportError) else str(error)) from None
        atexit.register(self._end)  # another playbook may follow one that has ended

    def v2_playbook_on_start(self, playbook):  # noqa: ARG002  # Ansible's
        self._playbook.begin()

    def v2_playbook_on_play_start(self, play):
        variables = play.get_variable_manager().get_vars(play=play, include_hostvars=False)
        steps = sum(not task.implicit for block in play.compile() for task in block.get_tasks())
        self._playbook.wait(variables["ansible_play_batch"], steps, f"{play.get_name()}: waits")

    def v2_runner_on_start(self, host, task):
        self._playbook.publish(host.name, "message", task.get_name())

    def v2_runner_on_ok(self, result):
        text = f"{result.task_name}: changed" if result.is_changed() else ""
        self._playbook.publish(result.host.name, "advance", 1, text)

    def v2_runner_on_skipped(self, result):
        self._playbook.publish(result.host.name, "advance", 1, f"{result.task_name}: skipped")

    def v2_runner_on_failed(self, result, ignore_errors=False):  # noqa: FBT002  # Ansible's
        block = result.task._parent  # noqa: SLF001  # there is no other way to ask
        while block and not getattr(block, "rescue", None):
            block = block._parent  # noqa: SLF001
        self._broken(result, "failed", goes_on=ignore_errors or bool(block))

    def v2_runner_on_unreachable(self, result):
        self._broken(result, "unreachable", goes_on=result.task.ignore_unreachable)

    def v2_playbook_on_no_hosts_remaining(self):
        self._playbook.stop()

    def v2_playbook_on_stats(self, stats):
        self._playbook.summarize = stats.summarize

    def _end(self):
        if unsent := self._playbook.end():
            self._display.warning(f"{unsent} messages of progress were not sent.")

    def _broken(self, result, word, *, goes_on):
        text = f"{result.task_name}: {word}"
        how = {"level": "warning"} if goes_on else {"level": "error", "data": {"state": word}}
        self._playbook.publish(result.host.name, "message" if goes_on else "failed", text, **how)
        if result.task.any_errors_fatal and not goes_on:
            self._playbook.stop()
