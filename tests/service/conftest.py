"""What every test of the service may ask for."""

from services import serve, served

__all__ = ["serve", "served"]
