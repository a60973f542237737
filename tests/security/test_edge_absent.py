"""What `make up` without TLS leaves of an edge that was there before: nothing."""

from __future__ import annotations


def test_the_edge_is_there_with_tls_and_gone_without(instance, server):
    listening = server.run("ss -Hltn | awk '{print $4}'").stdout.split()
    assert bool([one for one in listening if one.endswith((":80", ":443"))]) == instance["tls"]
    drop_in = "/etc/systemd/system/nginx.service.d/edge.conf"
    for path in ("/etc/edge", "/etc/redis/key.pem", drop_in):
        assert server.file(path).exists == instance["tls"], path
    plain_webdis = [one for one in listening if one == "0.0.0.0:7379"]
    assert bool(plain_webdis) != instance["tls"]
