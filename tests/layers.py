"""What there is to run: lanes, which run side by side, and the layers of each, in their order."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

SCENARIOS = [sys.executable, "-m", "tests.scenarios"]
DOCUMENTS = "tests/docs/test_documents.py"
FAULTS = "tests/faults/test_faults.py"
# Two dozen runs of a role, each cut or spoilt in another way: not in `make test`.
BUILDS = "tests/server/test_source_build.py"
# Of tests/app those that start one demo after another.
DEMOS = [
    *("tests/app/test_jobs.py", "tests/app/test_server.py", "tests/app/test_sessions.py"),
    *("tests/app/test_crashes.py", "tests/app/test_health.py"),
]
OTHER_APP = ["tests/app", *(f"--ignore={file}" for file in DEMOS)]
QUICK_FAULTS = "redis_killed or webdis_killed or link_down"
NODE_LESSON = "tutorial.md and Lose and server"
# Of the table of faults the first and the planned failover; `make test-nodes` has all.
NODE_TESTS = "kept or planned or stops or queue or another_tls"
NODE_TEST_MILLISECONDS = 60_000


@dataclass(frozen=True)
class Layer:
    """One command with tests.

    Attributes:
        name: What a person calls it.
        command: Program and arguments; ``{reports}`` stands for a folder that it writes
            JUnit reports into. Without it the command counts as one test.
        quick: Whether `make test` runs it, or `make test-all` only.
        environment: Added to that of the lane.
    """

    name: str
    command: list[str]
    quick: bool = False
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lane:
    """Layers that run one after the other, because they share an instance or a processor.

    Attributes:
        name: What a person calls it.
        layers: In the order in which they run.
        instance: Name of the instance that they share, as ``KIT_INSTANCE`` takes it; None
            where they need none.
        up: Whether the instance is brought up before the first layer.
        builds: Whether it is the first that needs what is made once and kept: the root file
            system, the programs that are compiled. Until it is up no more lanes run than there are
            processors, unless there are such programs.
        environment: Of all layers, and of what brings the instance up.
    """

    name: str
    layers: list[Layer]
    instance: str | None = None
    up: bool = False
    builds: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def pytest(*arguments: str) -> list[str]:
    """Return the command that runs these tests."""
    report = "--junitxml={reports}/report.xml"
    return [sys.executable, "-m", "pytest", report, "--durations=0", *arguments]


def kit(command: str) -> list[str]:
    """Return the command line of a command of the kit."""
    return [sys.executable, "-m", "kit", command]


def node(*patterns: str) -> list[str]:
    """Return the command that runs the tests in these files on Node.js."""
    return [
        *("node", "--test", f"--test-timeout={NODE_TEST_MILLISECONDS}"),
        *("--test-reporter=spec", "--test-reporter-destination=stdout"),
        *("--test-reporter=junit", "--test-reporter-destination={reports}/report.xml"),
        *patterns,
    ]


# In the order in which they start: the longest first, so that none is left at the end.
LANES = [
    Lane(
        "plain",
        instance="",
        up=True,
        builds=True,
        layers=[
            Layer("server", pytest("tests/server", "--ignore", BUILDS), quick=True),
            Layer(
                "app and e2e on a server",
                pytest("tests/app", "tests/e2e", "-m", "machine"),
                quick=True,
            ),
            Layer("three faults", pytest(FAULTS, "-k", QUICK_FAULTS), quick=True),
            Layer("surroundings", pytest("tests/surroundings")),
            Layer("other faults", pytest(FAULTS, "-k", f"not ({QUICK_FAULTS})")),
            Layer("builds", pytest(BUILDS)),
        ],
    ),
    Lane(
        "TLS",
        instance="tls",
        up=True,
        environment={"TLS": "1"},
        layers=[
            Layer("verify, TLS", kit("verify")),
            Layer("edge", pytest("tests/tls", "tests/faults/test_edge.py")),
            Layer("server, TLS", pytest("tests/server", "--ignore", BUILDS)),
            Layer("e2e, TLS", pytest("tests/e2e", "-m", "not appearance")),
            Layer("make up without TLS", kit("up"), environment={"TLS": "0"}),
            Layer("edge taken away", pytest("tests/security/test_edge_absent.py")),
        ],
    ),
    Lane(
        "pages",
        instance="pages",
        up=True,
        environment={"PROVIDER": "local"},
        layers=[Layer("e2e", pytest("tests/e2e", "-m", "not machine"), quick=True)],
    ),
    Lane(
        "demos",
        instance="demos",
        up=True,
        environment={"PROVIDER": "local"},
        layers=[Layer("app, demos", pytest(*DEMOS, "-m", "not machine"), quick=True)],
    ),
    Lane(
        "app",
        instance="app",
        up=True,
        environment={"PROVIDER": "local"},
        layers=[
            Layer("app", pytest(*OTHER_APP, "-m", "not machine"), quick=True),
            Layer("versions", pytest("tests/versions"), quick=True),
        ],
    ),
    Lane(  # apart from plain, which is the longest already
        "walls",
        instance="walls",
        up=True,
        layers=[Layer("walls", pytest("tests/security"), quick=True)],
    ),
    Lane(
        "documents",
        instance="documents",  # the first thing that a document does is to make it
        layers=[Layer("documents", pytest(DOCUMENTS, "-k", "not devices.md"))],
    ),
    Lane(
        "examples",
        instance="examples",
        up=True,
        environment={"PROVIDER": "local"},
        layers=[
            Layer("examples", pytest("tests/examples")),
            Layer("Firefox and WebKit", pytest("tests/browsers")),
            Layer("Firefox and WebKit, local", pytest("tests/local/test_browsers.py")),
        ],
    ),
    Lane(
        "scenario",
        layers=[Layer("upgrade", SCENARIOS, environment={"SCENARIO": "upgrade"})],
    ),
    Lane(
        "lab",
        instance="lab",
        up=True,
        environment={"LAB": "20"},
        layers=[
            Layer("devices", pytest("tests/devices")),
            Layer("documents, devices", pytest(DOCUMENTS, "-k", "devices.md")),
            Layer("lab away", pytest("tests/devices/test_traces.py"), environment={"LAB": "0"}),
        ],
    ),
    Lane(
        "metrics",
        instance="metrics",
        up=True,
        # Alerts do not wait for as long as for people.
        environment={"TLS": "1", "METRICS": "full", "KIT_METRICS_SECONDS": "2"},
        layers=[Layer("metrics", pytest("tests/metrics"))],
    ),
    Lane(
        "nodes",
        instance="nodes",
        up=True,
        environment={"NODES": "3"},
        layers=[
            Layer("verify, three nodes", kit("verify")),
            # First of all, as the first node is the primary only until it was lost once.
            Layer("documents, three nodes", pytest(DOCUMENTS, "-k", NODE_LESSON)),
            Layer("a server lost", pytest("tests/nodes", "-k", NODE_TESTS)),
        ],
    ),
    Lane(
        "no instance",
        layers=[
            Layer("unit", pytest("tests/unit"), quick=True),
            Layer("interruption", pytest("tests/runner")),
        ],
    ),
    # Apart from those, so that the last lane to end is a short one.
    Lane(
        "no rights",
        layers=[Layer("local", pytest("tests/local/test_local.py"), quick=True)],
    ),
    Lane(
        "no instance, short",
        layers=[
            Layer("Node", node("tests/js/*.test.js"), quick=True),
            Layer("Ruby", ["tests/ruby/run.sh", "{reports}"], quick=True),
            Layer("references", pytest("tests/docs", "--ignore", DOCUMENTS), quick=True),
            Layer("collection", ["tests/collection/run.sh", "--without-linters"]),
        ],
    ),
]
