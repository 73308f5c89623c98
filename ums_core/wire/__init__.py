"""What crosses the network: one schema for both ends of HTTP, calls and answers without any input or output."""
