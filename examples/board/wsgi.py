"""Where servers look: ``carboy run`` finds ``app`` here, and so does ``gunicorn wsgi:app``."""

from board import create_app

app = create_app()
