"""Tables for people, in Markdown, and the pages that hold them between two marks."""


def as_markdown(table) -> str:
    """A table as Markdown, without its index."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def in_percent(table):
    """A table for people: shares of 1, which are its floats, as percentages with one digit, underscores as spaces."""
    shares = table.select_dtypes("float").columns
    shown = table.assign(**{name: [f"{100 * value:.1f}" for value in table[name]] for name in shares})
    return shown.rename(columns=lambda name: name.replace("_", " "))


def write(path, name, text) -> None:
    """Put a text between ``<!-- name -->`` and ``<!-- end of name -->`` of a page, in the place of what is there.

    Raises:
        ValueError: where the page lacks the marks, or has them twice.
    """
    page = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(end) < page.index(begin):
        raise ValueError(f"{path.name} needs one line <!-- {name} --> and after it one line <!-- end of {name} -->")
    path.write_text(page.split(begin)[0] + begin + text + end + page.split(end)[1], encoding="utf-8", newline="\n")
