"""The search of the website: an index of its pages by heading, as a script that a page loads when someone searches."""

import html
import json
import re

_TAG = re.compile(r"<[^>]+>")
_SECTION = re.compile(r'<h([12]) id="([^"]+)"[^>]*>(.*?)</h\1>', re.DOTALL)
_LEFT_OUT = re.compile(r"<(script|style|svg|nav|pre)\b.*?</\1>", re.DOTALL)


def headings(content: str) -> list[tuple[str, str]]:
    """Id and text of each heading of the second level in some HTML.

    Example:
        >>> headings('<h2 id="a">One<a class="anchor-link" href="#a">¶</a></h2>')
        [('a', 'One')]
    """
    return [(name, _words(text)) for level, name, text in _SECTION.findall(content) if level == "2"]


def entries(address: str, title: str, content: str) -> list[dict]:
    """What can be found on a page: one entry for each heading of the first two levels, with the text below it.

    Args:
        address: of the page, relative to the root of the site.
        title: of the page.
        content: its HTML.
    """
    content = _LEFT_OUT.sub(" ", content)
    places = list(_SECTION.finditer(content))
    if not places:
        return [{"page": title, "heading": title, "address": address, "text": _words(content)}]
    found = []
    for place, following in zip(places, [*places[1:], None], strict=True):
        text = content[place.end() : following.start() if following else len(content)]
        anchor = "" if place[1] == "1" else f"#{place[2]}"
        found.append({"page": title, "heading": _words(place[3]), "address": address + anchor, "text": _words(text)})
    return found


def script(found: list[dict]) -> str:
    """The index as a script."""
    return f"window.SEARCH = {json.dumps(found, ensure_ascii=False)};\n"


def _words(content):
    """The text of some HTML, without tags, anchors and surplus spaces."""
    return " ".join(html.unescape(_TAG.sub(" ", content)).replace("¶", " ").split())
