"""Lesson "devices": check, back up and change real routers, many at a time."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    redirect,
    render_template,
    request,
    url_for,
)

from demo_app import ownership
from demo_app.devices import inventory
from demo_app.devices.picture import draw, link_states
from demo_app.jobs import page, queue, tasks

if TYPE_CHECKING:
    from rq.job import Job
    from werkzeug.wrappers import Response as BaseResponse

    from demo_app.devices.inventory import Device

blueprint = Blueprint("devices", __name__, url_prefix="/devices")

PAGE = "devices.show"
JOBS = {
    "check": "Check: neighbours, routes and version against what is wanted",
    "playbook": "Check by Ansible: the same, as a playbook",
    "backup": "Back up: running configurations into git, where they have changed",
    "preview": "Change: first what would be changed, then, once you confirm, the change",
}
# Of runs, before the devices' names.
NAMES = {
    "check": "Check",
    "playbook": "Check by Ansible",
    "backup": "Back up",
    "preview": "Preview for",
    "apply": "Change",
}
NAMED = 3  # more are counted
COLUMNS = ("device", "state", "text", "seconds", "attempts", "slow")


def _devices() -> dict[str, Device]:
    return inventory.devices(current_app.config)


@blueprint.get("/")
def new() -> str:
    """Show the routers, and what can be done with them."""
    return render_template(
        "devices/new.html",
        jobs=JOBS,
        changes=inventory.CHANGES,
        devices=_devices(),
        picture=draw(_devices()),
        runs=page.own_runs(PAGE),
    )


@blueprint.post("/")
def start() -> BaseResponse:
    """Put a run into the queue; names of devices are taken only if the inventory has them."""
    job, change = request.form.get("job", ""), request.form.get("change", "")
    names = request.form.getlist("device")
    if job not in JOBS:
        abort(400, f"job has to be one of: {', '.join(JOBS)}.")
    if change not in inventory.CHANGES:
        abort(400, f"change has to be one of: {', '.join(inventory.CHANGES)}.")
    known = _devices()
    if not names or set(names) - set(known):
        abort(400, f"device has to be at least one of: {', '.join(known)}.")
    return _start(job, change, [name for name in known if name in names], [])


def _start(job: str, change: str, names: list[str], kept: list[dict[str, Any]]) -> BaseResponse:
    token = queue.enqueue(
        tasks.devices,
        PAGE,
        f"{NAMES[job]} {', '.join(names) if len(names) <= NAMED else f'{len(names)} devices'}",
        timeout_seconds=current_app.config["DEVICES_TIMEOUT_SECONDS"],
        job=job,
        names=names,
        change=change,
        kept=kept,
    )
    return redirect(url_for(".show", token=token), 303)


@blueprint.get("/<token>")
def show(token: str) -> str:
    """Show a run: every device, failures first."""
    if ownership.page_of(token) != PAGE:
        abort(404, "There is no such run, or it is somebody else's.")
    picture, result = draw(_devices()), _result(token)
    states = link_states(picture.links, result["rows"])
    context = {"picture": picture, "link_states": states, **result}
    return page.render(token, PAGE, "devices/show.html", **context)


@blueprint.get("/<token>/result")
def result(token: str) -> str:
    """Return only the table, for the page that has seen the run end."""
    _job(token)
    return render_template("devices/result.html", run=page.look_up(token), **_result(token))


@blueprint.get("/<token>/result.json")
def result_json(token: str) -> dict[str, Any]:
    """Return the results for programs."""
    job = _job(token)
    return {"job": job.kwargs["job"], "devices": _rows(token)}


@blueprint.get("/<token>/result.csv")
def result_csv(token: str) -> Response:
    """Return the results for a spreadsheet."""
    _job(token)
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(_rows(token))
    answer = Response(file.getvalue(), mimetype="text/csv")
    answer.headers["Content-Disposition"] = "attachment; filename=devices.csv"
    return answer


@blueprint.post("/<token>/retry")
def retry(token: str) -> BaseResponse:
    """Visit those that are not well once more; the good results stay."""
    job, rows = _job(token), _finished(token)
    kept = [row for row in rows if row["state"] == "ok"]
    names = [row["device"] for row in rows if row["state"] != "ok"]
    if not names:
        abort(409, "Every device of that run is well: there is nothing to retry.")
    return _start(job.kwargs["job"], job.kwargs["change"], names, kept)


@blueprint.post("/<token>/confirm")
def confirm(token: str) -> BaseResponse:
    """Make the change that was shown, on the devices where it would do something."""
    job, rows = _job(token), _finished(token)
    names = [row["device"] for row in rows if row["state"] == "ok" and row["diff"]]
    if job.kwargs["job"] != "preview" or not names:
        abort(409, "There is no change to confirm.")
    return _start("apply", job.kwargs["change"], names, [])


def _job(token: str) -> Job:
    if ownership.page_of(token) != PAGE or (job := queue.find(token)) is None:
        abort(404, "There is no such run, or it is somebody else's.")
    return job


def _finished(token: str) -> list[dict[str, Any]]:
    if not page.look_up(token).ended:
        abort(409, "That run has not ended yet.")
    return _rows(token)


def _rows(token: str) -> list[dict[str, Any]]:
    """Return a row for each device of a run, also for those that nothing is known of."""
    kwargs = _job(token).kwargs
    rows: list[dict[str, Any]] = queue.result(token) or kwargs["kept"]
    missing = [name for name in kwargs["names"] if name not in {row["device"] for row in rows}]
    ended = page.look_up(token).ended
    state = "unfinished" if ended else "waiting"
    text = "the run ended before this device did" if ended else ""
    empty = {"seconds": 0.0, "attempts": 0, "slow": False, "log": [], "diff": "", "missing": None}
    lost = [{"device": name, "state": state, "text": text, **empty} for name in missing]
    return [*lost, *rows] if ended else [*rows, *lost]


def _result(token: str) -> dict[str, Any]:
    kwargs = _job(token).kwargs
    rows = _rows(token)
    return {
        "job": kwargs["job"],
        "change": inventory.CHANGES.get(kwargs["change"], ""),
        "rows": rows,
        "states": {row["device"]: row["state"] for row in rows},
        "unwell": [row["device"] for row in rows if row["state"] != "ok"],
        "changing": [row["device"] for row in rows if row["state"] == "ok" and row["diff"]],
    }
