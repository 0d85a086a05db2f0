"""How the board is doing: one page, asked of the database in one go."""

from .views import bp

__all__ = ["bp"]
