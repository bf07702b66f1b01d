"""Reports as self-contained HTML pages: pictures are inside, nothing is loaded from elsewhere."""

import base64
import pathlib
import urllib.parse
from collections.abc import Mapping
from typing import Any

import jinja2

from tfp_bruno.version import __version__


def render(template: str, title: str, pictures: Mapping[str, bytes], **values: Any) -> str:
    """Returns a page.

    Args:
        template: 'subject' or 'study'.
        title: heading of the page.
        pictures: bytes of PNG files, keyed by their name in the template.
        **values: what else the template shows; whatever it is, it is escaped.

    Returns:
        The HTML.
    """
    encoded = {name: encode_picture(content) for name, content in pictures.items()}
    return (
        _templates()
        .get_template(f'{template}.html.jinja')
        .render(title=title, version=__version__, **encoded, **values)
    )


def encode_picture(content: bytes) -> str:
    """Returns the bytes of a picture as base64 text."""
    return base64.b64encode(content).decode('ascii')


def encode_path(path: pathlib.PurePath) -> str:
    """Returns a relative path as a link has it: `#`, `%`, `?` and spaces in names are no part of its syntax."""
    return '/'.join(map(urllib.parse.quote, path.parts))


def _templates() -> jinja2.Environment:
    """Returns the environment of the packaged templates."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader('tfp_bruno.reconstruction'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
