"""Orchestration over ports: how memories come in, and how they are found. Knows no concrete class."""
