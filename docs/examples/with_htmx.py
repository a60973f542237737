"""htmx: each press of the button puts one more run on the page; its result follows its end.

flask --app with_htmx run
"""

from app import create_app, own, redis

from webdis_progress import replay

app = create_app(page="htmx.html")


@app.get("/runs/<run>/result")
def result(run: str) -> str:
    """Return what a run has made, as a piece of the page."""
    state = replay(redis, own(run))["state"]["run"]
    return f"{state['total']} devices were read." if state else "Nothing yet."
