"""The systems that the kit is measured against, each as its own documentation shows it."""
