"""What the lesson "devices" does with routers: check, back up and change them, many at a time.

`inventory` says which there are, `session` talks to one, `jobs` has what is done to one,
`runner` does it to all of them by Nornir, `playbook` checks them by Ansible, and
`backups` keeps configurations in git.
"""
