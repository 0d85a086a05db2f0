"""Facts of tables and trees."""

from carboy.cli.listing import Branch, table, tree


def test_a_table_has_titles_and_no_empty_column() -> None:
    """Columns are as wide as their widest cell; nothing trails."""
    assert table(("One", "Two", "Three"), [("a", "", "c"), ("long cell", "", "")]) == [
        "One        Three",
        "---------  -----",
        "a          c",
        "long cell",
    ]


def test_a_tree_is_drawn_under_its_roots() -> None:
    """The last branch closes its line."""
    root = Branch("root")
    inner = root.add("inner")
    inner.add("leaf")
    root.add("last")

    drawn = tree([root])

    assert [line.lstrip("├└─│|-` ") for line in drawn] == ["root", "inner", "leaf", "last"]
    assert drawn[2].startswith(("│  ", "|  "))
