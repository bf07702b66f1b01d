"""Reports as self-contained HTML pages, with their pictures inside; nothing is loaded from elsewhere."""

import base64
import os
import pathlib
import urllib.parse
from collections.abc import Mapping
from typing import Any

import jinja2

from tfp_bruno.version import __version__


def render(template: str, title: str, pictures: Mapping[str, bytes], **values: Any) -> str:
    """Returns a page as HTML.

    Args:
        template: 'subject', 'atlas', 'study' or 'registration'.
        title: The heading of the page.
        pictures: Bytes of PNG files, keyed by their name in the template.
        **values: The other values of the template; all of them are escaped.
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
    """Returns a relative path as a link, in which `#`, `%`, `?`, `:`, spaces and other bytes of names are escaped."""
    return '/'.join(urllib.parse.quote(os.fsencode(part)) for part in path.parts)


def _templates() -> jinja2.Environment:
    """Returns the environment of the packaged templates."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader('tfp_bruno.reconstruction'),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
