"""A page as a parser sees it, for the tests of the report."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements with their attributes and texts; badly nested tags raise."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.order: list[str] = []  # every start and end
        self._open: list[int] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))
        self.order.append(f"<{tag}>")
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open and self.elements[self._open[-1]][0] == tag, f"</{tag}> closes another element"
        self._open.pop()
        self.order.append(f"</{tag}>")

    def handle_data(self, data):
        for index in self._open:
            self.elements[index][2].append(data)

    def all(self, tag: str, **attributes: str) -> list[tuple[dict[str, str], str]]:
        """Return attributes and text of every such element."""
        return [
            (found, "".join(texts))
            for name, found, texts in self.elements
            if name == tag and all(found.get(key) == value for key, value in attributes.items())
        ]

    def by_id(self, name: str) -> tuple[str, str]:
        """Return tag and text of the element with an id."""
        ((tag, _, texts),) = [one for one in self.elements if one[1].get("id") == name]
        return tag, "".join(texts)

    @property
    def text(self) -> str:
        """All that is read below the head of the page, with single spaces."""
        return " ".join(self.all("main")[0][1].split())
