"""What people write: posts with pictures, comments, topics, search, and each author's page."""

from .views import bp

__all__ = ["bp"]
