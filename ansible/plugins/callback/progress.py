"""A bar for each host of a playbook, and a line for each task."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: notification
short_description: A bar for each host, live on a page
description:
  - Publishes a playbook's progress through Redis; each host is a task of the run, each task a line.
  - Of results only their kind is published, never what a host has said.
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
import contextlib

from ansible.errors import AnsibleError

from ansible.plugins.callback import CallbackBase

try:
    import redis

    from webdis_progress import EndedError, Progress
except ImportError:
    Progress = None


class CallbackModule(CallbackBase):
    """Is told what happens by Ansible's main process, one call at a time."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "webdis_kit.server.progress"
    CALLBACK_NEEDS_ENABLED = True

    def set_options(self, *args, **kwargs):
        super().set_options(*args, **kwargs)
        if Progress is None:
            raise AnsibleError("The Python package webdis-progress is missing where Ansible runs.")
        if not (channel := self.get_option("channel")):
            raise AnsibleError(
                "channel is empty; allowed is any name that Redis lets the user use."
            )
        try:
            client = redis.Redis.from_url(self.get_option("redis_url"), socket_timeout=5)
        except ValueError:  # its text may hold the password
            text = "redis_url has to be like redis://USER:PASSWORD@HOST:PORT; rediss:// is TLS."
            raise AnsibleError(text) from None
        self._whole, self._bars = self.get_option("whole_run"), {}
        self._stopped = set()  # names of hosts that others have stopped
        self._stats = None
        self._run = Progress(
            client, channel, required=False, patience_seconds=5, count_tasks=self._whole
        )
        atexit.register(self._end)

    def v2_playbook_on_start(self, playbook):  # noqa: ARG002  # Ansible's
        self._stats = None
        if self._whole and not self._bars:  # not the second of several playbooks
            self._publish(self._run.started)

    def v2_playbook_on_play_start(self, play):
        variables = play.get_variable_manager().get_vars(play=play, include_hostvars=False)
        tasks = [task for block in play.compile() for task in block.get_tasks()]
        with contextlib.suppress(EndedError), self._run.batch():
            for name in variables["ansible_play_batch"]:
                host_bar = self._bar(name)
                host_bar.total += sum(not task.implicit for task in tasks)
                host_bar.message(f"{play.get_name()}: waits")

    def v2_runner_on_start(self, host, task):
        self._publish(self._bar(host.name).message, task.get_name())

    def v2_runner_on_ok(self, result):
        self._step(result, "changed" if result.is_changed() else "")

    def v2_runner_on_skipped(self, result):
        self._step(result, "skipped")

    def v2_runner_on_failed(self, result, ignore_errors=False):  # noqa: FBT002  # Ansible's
        block = result.task._parent  # noqa: SLF001  # there is no other way to ask
        while block and not getattr(block, "rescue", None):
            block = block._parent  # noqa: SLF001
        self._broken(result, "failed", goes_on=ignore_errors or bool(block))

    def v2_runner_on_unreachable(self, result):
        self._broken(result, "unreachable", goes_on=result.task.ignore_unreachable)

    def v2_playbook_on_no_hosts_remaining(self):
        self._stopped.update(
            host_bar.name for host_bar in self._bars.values() if not host_bar.ended
        )

    def v2_playbook_on_stats(self, stats):
        self._stats = stats

    def _end(self):
        """End the run; at exit, since another playbook may follow one that has ended."""
        if self._stats:
            self._end_hosts()
        done = [name for name, host_bar in self._bars.items() if host_bar.ended == "done"]
        others = [name for name in self._bars if name not in done]
        words = f"{len(done)} of {len(self._bars)} hosts are done"
        if self._whole and not self._stats:
            self._publish(self._run.cancelled, f"Interrupted; {words}")
        elif self._whole:
            publish = self._run.failed if others else self._run.done
            self._publish(publish, "; not ".join([words, *others]))
        with contextlib.suppress(EndedError):
            self._run.flush()
        if self._run.unsent:
            self._display.warning(f"{self._run.unsent} messages of progress were not sent.")

    def _end_hosts(self):
        for host_bar in [host_bar for host_bar in self._bars.values() if not host_bar.ended]:
            found = self._stats.summarize(host_bar.name)
            words = ", ".join(f"{number} {word}" for word, number in found.items() if number)
            if found["failures"] or found["unreachable"]:
                self._publish(host_bar.failed, words)
            elif host_bar.name in self._stopped:
                self._publish(host_bar.cancelled, "Stopped, since another host has failed")
            else:
                # What turned out not to be needed is not waited for.
                host_bar.total = host_bar.current
                self._publish(host_bar.done, words)

    def _step(self, result, word):
        text = f"{result.task_name}: {word}" if word else ""
        self._publish(self._bar(result.host.name).advance, 1, text)

    def _broken(self, result, word, *, goes_on):
        host_bar, text = self._bar(result.host.name), f"{result.task_name}: {word}"
        if goes_on:
            self._publish(host_bar.message, text, level="warning")
        else:
            self._publish(host_bar.failed, text, level="error", data={"state": word})
            if result.task.any_errors_fatal:
                self.v2_playbook_on_no_hosts_remaining()

    @staticmethod
    def _publish(publish, *args, **kwargs):
        # Somebody may have ended the run, or Ansible brought back a host that had failed.
        with contextlib.suppress(EndedError):
            publish(*args, **kwargs)

    def _bar(self, name):
        # A host that several plays have in common has one.
        if name not in self._bars:
            self._bars[name] = self._run.task(name, 0)
        return self._bars[name]
