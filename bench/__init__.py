"""Measurements; each module or script says on top what it measures."""
