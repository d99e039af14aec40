"""SVG and HTML elements as text that is escaped unless it was made here."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is markup already. `__html__` tells Jinja2 so."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def element(tag: str, *inside: str, **attributes: str | float | None) -> Markup:
    """<tag>; `text_anchor` is written text-anchor, `class_` class, None is left out, numbers have two decimals."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{value_text(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{written}>{''.join(map(safe, inside))}</{tag}>")


def safe(text: str) -> str:
    """As it is if it is markup, escaped if not."""
    return text if isinstance(text, Markup) else escape(text)


def value_text(value: str | float) -> str:
    """An attribute's value, escaped."""
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def percent(share: float) -> str:
    """0.25 as '25%': a length that grows with the page."""
    return f"{100 * share:.3f}".rstrip("0").rstrip(".") + "%"


def join(*parts: str) -> Markup:
    """Several elements after each other."""
    return Markup("".join(map(safe, parts)))
