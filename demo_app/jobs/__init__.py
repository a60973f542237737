"""Background jobs: queue, what is done, who does it, and the page that shows how far it is."""
