"""The suites that judge an implementation of LlamaIndex's interfaces, for pytest: none are published elsewhere."""
