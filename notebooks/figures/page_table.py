"""Writes a table or a paragraph into a page."""


def write_table(page, start, lines):
    """Replaces a table or paragraph of a page by new lines, up to the next empty line.

    `start` is the beginning of its first line.
    """
    before, header, rest = page.read_text().partition(start)
    assert header, f"{page.name} has lost its table {start}"
    _, _, after = rest.partition("\n\n")
    page.write_text(before + "\n".join(lines) + "\n" + (after and f"\n{after}"))
