"""The lessons, one a file, in the order in which they are meant to be read.

A lesson has one name: that of its file, its blueprint, its address and its pictures.
"""

from __future__ import annotations

from demo_app.lessons import audit, devices, job, own, post, shared, start

BLUEPRINTS = (
    start.blueprint,
    post.blueprint,
    shared.blueprint,
    own.blueprint,
    job.blueprint,
    audit.blueprint,
    devices.blueprint,
)
