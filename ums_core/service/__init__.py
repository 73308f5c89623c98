"""The service: many tenants over HTTP, each confined to a database of its own."""
