"""Who is who: registration, logging in and out, settings, API tokens. Knows nothing of posts."""

from .identity import login_required
from .views import bp

__all__ = ["bp", "login_required"]
