"""Unpacking gzip files whole, within a bound."""

import pathlib
import zlib

from tfp_bruno.errors import UserError

GZIP_MAGIC = b'\x1f\x8b'
_GZIP_FORMAT = 31
# Some writers pad a file.
_SLACK = 1 << 20


def unpack(content: bytes, path: pathlib.Path, size: int, whole: bool = True) -> bytes:
    """Returns the unpacked bytes of a file that may be packed; checksums are verified where all of it is asked for.

    Args:
        content: the bytes of the file.
        path: the file, for the error.
        size: bytes that are expected.
        whole: whether the file must end about there; if not, its first `size` bytes are enough.

    Returns:
        The content itself where it is not packed.

    Raises:
        UserError: if the file is cut short, damaged, or unpacks to more than is expected.
    """
    if not content.startswith(GZIP_MAGIC):
        return content if whole else content[:size]
    limit = size + _SLACK if whole else size
    parts: list[bytes] = []
    rest = content
    try:
        # A file may consist of several members, as parallel packers write them; zeros may follow the last.
        while rest:
            member = zlib.decompressobj(_GZIP_FORMAT)
            parts.append(member.decompress(rest, max(limit - sum(map(len, parts)), 1)))
            if not member.eof:
                if whole:
                    raise _error(path, len(b''.join(parts)) >= limit)
                break
            rest = member.unused_data.lstrip(b'\0')
    except zlib.error as error:
        raise UserError(f'{path}: is cut short or damaged ({error}); copy or download it again.') from error
    except MemoryError:
        raise UserError(f'{path}: unpacks to more than the memory; crop it or resample it first.') from None
    return b''.join(parts)


def _error(path: pathlib.Path, is_longer: bool) -> UserError:
    """Returns the error of a file whose packed data do not end where they should."""
    if is_longer:
        return UserError(f'{path}: unpacks to more than its header promises; write it again.')
    return UserError(f'{path}: is cut short or damaged (its packed data have no end); copy or download it again.')
