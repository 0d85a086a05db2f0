"""The operator's chapter lists every option, as the definition has it."""

from pathlib import Path

from carboy.server.options_table import options_table

CHAPTER = Path(__file__).parents[2] / "docs" / "production.md"


def test_chapter_lists_the_options_as_they_are():
    """After a change of an option, put `options_table()` into docs/production.md again."""
    assert CHAPTER.read_text().rstrip().endswith(options_table())
