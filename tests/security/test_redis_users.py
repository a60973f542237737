"""What each Redis user may do: the users' file against Redis's own judgement, then for real."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field

import pytest
import redis

from kit.verify import redis_as
from tests.security.test_commands import OWN_CONNECTION, commands_of, filled
from tests.security.without_walls import WithoutWalls

NAMES = ("progress:x:events", "rq:queue:default", "other", "progress")


@dataclass
class User:
    """One line of the users' file."""

    commands: set[str] = field(default_factory=set)
    keys: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)

    def may_use(self, command):
        return command in self.commands or command.split("|")[0] in self.commands

    def may_touch(self, key):
        return any(fnmatch.fnmatchcase(key, pattern) for pattern in self.keys)

    def may_publish(self, channel):
        return any(fnmatch.fnmatchcase(channel, pattern) for pattern in self.channels)


@pytest.fixture(scope="module")
def lab(server):
    with WithoutWalls(server, walled_webdis=True, walled_redis=True) as started:
        yield started


@pytest.fixture(scope="module")
def users(server):
    """Return the users of the file that have rights by command, by name."""
    found = {}
    for line in server.file("/etc/redis/users.acl").content_string.splitlines():
        if not (match := re.match(r"user (\S+) (.*)", line)):
            continue
        name, rules = match.groups()
        user = User()
        for rule in rules.split():
            if rule in {"allchannels", "&*"}:
                user.channels.append("*")
            elif rule.startswith("~"):
                user.keys.append(rule[1:])
            elif rule.startswith("&"):
                user.channels.append(rule[1:])
            elif rule.startswith("+"):
                user.commands.add(rule[1:])
        found[name] = user
    assert {"default", "admin"} <= set(found)
    return {name: user for name, user in found.items() if name not in {"default", "admin"}}


def judgement(lab, user, words):
    """Return what Redis would say if the user gave that command."""
    try:
        answer = lab.redis.execute_command("ACL DRYRUN", user, *words)
    except redis.ResponseError as error:
        return str(error)
    return answer.decode() if isinstance(answer, bytes) else str(answer)


def test_only_webdis_and_its_kin_are_there(users):
    assert {"webdis", "publisher"} <= set(users) <= {"webdis", "publisher", "jobs", "replica"}
    assert users["webdis"].commands == {"subscribe"}
    assert users["webdis"].keys == []
    assert users["publisher"].keys == ["progress:*"]
    assert users["publisher"].channels == ["progress:*"]
    if "jobs" in users:
        assert all(key.startswith("rq:") for key in users["jobs"].keys)
        assert all(channel.startswith("rq:") for channel in users["jobs"].channels)


def test_no_category_is_granted(users):
    # A category grows with each version of Redis; a command does not.
    for user in users.values():
        assert not [rule for rule in user.commands if rule.startswith("@")]


def test_each_user_with_each_command_and_key(lab, users):
    commands = commands_of(lab.redis)
    wrong = []
    for name, user in users.items():
        for command, arity in commands.items():
            for key in NAMES:
                words = filled(command, arity)
                words = [key if word == "progress:wall" else word for word in words]
                answer = judgement(lab, name, words)
                refused = "no permissions to run the" in answer
                allowed = user.may_use(command) or command in OWN_CONNECTION
                if allowed == refused:
                    wrong.append((name, words, answer))
                if allowed and "to access the" in answer and user.may_touch(key):
                    wrong.append((name, words, answer))
    assert wrong == []


def test_each_user_with_each_key(lab, users):
    """With commands that take keys in every way there is: read, write, both."""
    wrong = []
    for name, user in users.items():
        for key in NAMES:
            for words in (
                ["GET", key],
                ["HGET", key, "f"],
                ["HSET", key, "f", "v"],
                ["XADD", key, "*", "f", "v"],
                ["XRANGE", key, "-", "+"],
                ["DEL", key],
                ["LPUSH", key, "v"],
                ["EVAL", "return 1", "1", key],
            ):
                answer = judgement(lab, name, words)
                expected = user.may_use(words[0].lower()) and user.may_touch(key)
                if (answer == "OK") != expected:
                    wrong.append((name, words, answer))
    assert wrong == []


def test_each_user_with_each_channel(lab, users):
    wrong = []
    for name, user in users.items():
        for channel in NAMES:
            for words in (["PUBLISH", channel, "x"], ["SUBSCRIBE", channel]):
                answer = judgement(lab, name, words)
                expected = user.may_use(words[0].lower()) and user.may_publish(channel)
                if (answer == "OK") != expected:
                    wrong.append((name, words, answer))
    assert wrong == []


def test_what_a_user_may_not_do_is_refused_on_a_real_connection(lab, users, secrets_dir):
    commands = commands_of(lab.redis)
    lab.redis.set("progress:wall", "kept")
    for name, user in users.items():
        file = secrets_dir / f"redis_{name}"
        with lab.redis_as(name, file.read_text().strip()) as connection:
            for command, arity in commands.items():
                if user.may_use(command) or command in OWN_CONNECTION:
                    continue
                with pytest.raises(redis.ResponseError, match=r"no permissions to run|not allowed"):
                    connection.execute_command(*filled(command, arity))
    assert lab.redis.get("progress:wall") == b"kept"


def test_scripts_have_the_rights_of_who_runs_them(lab, secrets_dir):
    with lab.redis_as("publisher", (secrets_dir / "redis_publisher").read_text().strip()) as one:
        for words in (["set", "other", "x"], ["config", "set", "maxmemory", "1"], ["flushall"]):
            arguments = ", ".join(f"'{word}'" for word in words)
            with pytest.raises(redis.ResponseError, match=r"ACL failure|can't run|not allowed"):
                one.eval(f"return redis.call({arguments})", 0)


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"password": "x" * 43},
        {"username": "default", "password": ""},
        {"username": "publisher", "password": "x" * 43},
        {"username": "publisher", "password": ""},
        {"username": "admin", "password": "x" * 43},
        {"username": "nobody", "password": "x" * 43},
    ],
    ids=str,
)
def test_without_the_right_password_nobody_gets_in(instance, credentials):
    with redis_as(instance, **credentials) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_passwords_of_others_do_not_open_admin(instance, secrets_dir):
    files = list(secrets_dir.glob("redis_*"))
    assert {"redis_webdis", "redis_publisher"} <= {file.name for file in files}
    for file in files:
        with (
            redis_as(instance, username="admin", password=file.read_text().strip()) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
