"""The board for programs: JSON in, JSON out, errors too."""

from .views import bp

__all__ = ["bp"]
