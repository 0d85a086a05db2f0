"""Rules, the matcher made from them, and building URLs; no request, no application.

`map.py` is the Werkzeug map that says when it changes, `entry.py` is one rule as the engine sees it, `matcher.py` is the tree that is
walked, `table.py` is the whole of it with the static paths first. Nothing is re-exported here: name the file you mean.
"""
