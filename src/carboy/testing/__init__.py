"""Testing: one client through any door, an async client, a live server, and a pytest plugin.

Nothing is imported here: the plugin is loaded by every pytest run, and most of them are not about this framework.
"""
