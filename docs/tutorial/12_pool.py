"""The same devices, four at a time: one that hangs or fails stops no other."""

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flask import Flask, abort, redirect, request, session
from netmiko import ConnectHandler
from redis import Redis
from rq import Queue
from werkzeug import Response

from webdis_progress import Progress, events_after

app = Flask(__name__, static_folder=Path("clients/javascript/src").resolve())
app.secret_key = os.environ["SECRET_KEY"]
redis = Redis.from_url(os.environ["REDIS_URL"])
queue = Queue("tutorial", connection=Redis.from_url(os.environ["JOBS_URL"]))
SSH_CONFIG = Path(os.environ["LAB_SSH_CONFIG"])
LOGIN = {
    "device_type": "cisco_ios",  # FRRouting's command line is like it
    "ssh_config_file": SSH_CONFIG,  # address, port and user of each name
    "use_keys": True,
    "key_file": SSH_CONFIG.with_name("id_ed25519"),
    "ssh_strict": True,  # talk to the routers that came with the instance, to no other
    "alt_host_keys": True,
    "alt_key_file": SSH_CONFIG.with_name("known_hosts"),
}
DEVICES = ("r1", "r2", "r3", "r4", "r5", "r6")
PAGE = """
<main>
  <form method="post"><button>Run</button></form>
  <run-progress url="WEBDIS_URL" channel="CHANNEL" replay="/events/CHANNEL" after="0">
    <form slot="actions" method="post" action="/cancel"><button>Cancel</button></form>
  </run-progress>
</main>
<script type="module">
  import { defineRunProgress } from "/src/element.js";
  defineRunProgress();
</script>"""


def own_channel() -> str:
    """Return the channel of this user's run, which nobody can guess."""
    if "token" not in session:
        session["token"] = secrets.token_hex(16)
    return f"progress:{session['token']}"


def read(progress: Progress, name: str) -> None:
    """Read the configuration of one device, with a bar of its own."""
    with progress.task(name) as device:
        progress.raise_if_cancelled()
        device.message("connecting")
        with ConnectHandler(host=name, **LOGIN) as connection:
            device.message("reading the configuration")
            lines = connection.send_command("show running-config").splitlines()
        device.done(f"{len(lines)} lines")


def work(channel: str) -> None:
    """Read all devices, in the worker; one that fails stops no other."""
    with Progress(redis, channel, count_tasks=True) as progress:
        with ThreadPoolExecutor(max_workers=4) as pool:
            reading = [pool.submit(read, progress, name) for name in DEVICES]
        for device in reading:
            device.result()  # raises what went wrong


@app.get("/")
def page() -> str:
    """Show the page."""
    return PAGE.replace("WEBDIS_URL", os.environ["WEBDIS_URL"]).replace("CHANNEL", own_channel())


@app.post("/")
def start() -> Response:
    """Start a run, on a channel of its own, and show the page again at once."""
    session["token"] = secrets.token_hex(16)
    queue.enqueue(work, own_channel(), description="work")  # a log must not tell the channel
    return redirect("/", 303)


@app.post("/cancel")
def cancel() -> tuple[str, int]:
    """Ask the run to stop at its next step; the page stays."""
    Progress(redis, own_channel()).request_cancel()
    return "", 204


@app.get("/events/<channel>")
def events(channel: str) -> list[dict[str, object]]:
    """Return what the page has missed, to the user whose channel it is."""
    if channel != own_channel():
        abort(404)
    return events_after(redis, channel, request.args.get("after", 0, int))
