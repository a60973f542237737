"""What each provider needs, whether this host has it, how to get it.

Runs before anything is installed: the standard library, and what Python 3.8 understands.
"""
