"""The app: what a guest declares, and how declarations become plans."""
