"""The suites that judge any implementation of a port, for pytest."""
