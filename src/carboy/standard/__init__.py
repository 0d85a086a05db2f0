"""Equipment fitted in every Carboy: sessions, templating, static files, class views, JSON."""
