"""Embedders that satisfy the port, the cache before them and the splitter of long texts."""
