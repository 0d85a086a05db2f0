"""What people write: posts with pictures, comments, topics, search, and each author's page."""

from .live import bp as live_bp
from .views import bp

__all__ = ["bp", "live_bp"]
