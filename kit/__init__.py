"""The command behind the Makefile: creates instances, provisions them, reports on them."""
