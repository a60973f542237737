"""The demo's processes: a supervisor, the web server, and how each ends with its parent."""
