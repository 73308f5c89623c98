"""Measurements that anyone can repeat: ``python -m ums_core.bench --help``."""
