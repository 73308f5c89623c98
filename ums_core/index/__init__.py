"""Nearest neighbours: derived state that storage can rebuild at any time."""
