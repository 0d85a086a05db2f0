"""What people write: posts with pictures, comments, topics, search, and each author's page."""

from . import listing
from .live import bp as live_bp
from .views import bp

__all__ = ["bp", "listing", "live_bp"]
