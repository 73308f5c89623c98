"""What the adapters of ``llama_index.*.ums`` share; ``llama_index_ums.testing`` holds the suites that judge them."""
