"""The places that implement `MemoryStore`, and the one module that puts them together."""
