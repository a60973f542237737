"""The provider for hosts that offer neither a hypervisor nor root: Redis and Webdis as this user.

What they are built with is in compiler.py and build.py (package.py where no archive of Webdis
can be had), their configuration in configuration.py, what keeps them running in
supervisord.conf.j2, listener.py and start_webdis.py. provider.py puts it together.
"""
