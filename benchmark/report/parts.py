"""What a chapter is made of: data for the template, which alone knows HTML."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from markupsafe import Markup


@dataclass(frozen=True)
class Banner:
    """What must not be missed."""

    kind: ClassVar[str] = "banner"
    text: str


@dataclass(frozen=True)
class Prose:
    """One paragraph."""

    kind: ClassVar[str] = "prose"
    text: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    kind: ClassVar[str] = "points"
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """A text to be copied as it is, such as a command."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Cell:
    """One cell of a grid.

    Attributes:
        text: As printed.
        value: What it is sorted by; None sorts by the text.
        anchor: Id of what a click opens; empty for none.
        below: A second, smaller line: the paper's number.
        is_best: Whether it stands out.
    """

    text: str
    value: float | None = None
    anchor: str = ""
    below: str = ""
    is_best: bool = False


@dataclass(frozen=True)
class Grid:
    """A table that sorts; the first column names the line.

    Attributes:
        caption: What it shows.
        headings: Of the columns.
        body: Lines of cells, one for each heading.
    """

    kind: ClassVar[str] = "grid"
    caption: str
    headings: tuple[str, ...]
    body: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Copies:
    """A table as text, by format.

    Attributes:
        name: Of the table's files.
        texts: E.g. `{"Markdown": ...}`.
    """

    kind: ClassVar[str] = "copies"
    name: str
    texts: Mapping[str, str]


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption."""

    kind: ClassVar[str] = "figure"
    caption: str
    svg: Markup


@dataclass(frozen=True)
class Picture:
    """A drawing that was made elsewhere and is shown as it is.

    Attributes:
        caption: What it shows.
        alt: What it says to who does not see it.
        media_type: Of the file, such as `"image/png"`.
        content: The file.
    """

    kind: ClassVar[str] = "picture"
    caption: str
    alt: str
    media_type: str
    content: bytes

    @property
    def uri(self) -> str:
        """The file within an address, so that the page asks nobody for it."""
        return f"data:{self.media_type};base64,{b64encode(self.content).decode()}"


@dataclass(frozen=True)
class Heading:
    """A heading within a chapter."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class More:
    """What a click opens.

    Attributes:
        summary: What stands on it.
        parts: What is inside.
        anchor: Its id; empty for none.
    """

    kind: ClassVar[str] = "more"
    summary: str
    parts: tuple["Part", ...]
    anchor: str = ""


Part: TypeAlias = Banner | Prose | Points | Code | Grid | Copies | Figure | Picture | Heading | More


@dataclass(frozen=True)
class Chapter:
    """A titled block of the page.

    Attributes:
        key: Its id in the page.
        title: As printed.
        parts: From top to bottom; a chapter without any is left out.
    """

    key: str
    title: str
    parts: tuple[Part, ...] = field(default=())
