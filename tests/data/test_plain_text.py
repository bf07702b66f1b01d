"""Text of any name is shown as it is, in one line."""

import pytest

from tfp_bruno.data.plain_text import check_run_name, check_utf8, figure_text, printable, to_utf8
from tfp_bruno.errors import UserError


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('sub-01 #?%$ä', 'sub-01 #?%$ä'),
        ('a\x1b[31mred', r'a\x1b[31mred'),
        ('two\nlines', r'two\nlines'),
        ('\x9b2J', r'\x9b2J'),
        ('\u202egz.iin', r'\u202egz.iin'),
        (b'a\xff'.decode(errors='surrogateescape'), r'a\udcff'),
    ],
)
def test_printable_escapes_what_a_terminal_obeys(text, shown):
    assert printable(text) == shown


def test_figure_text_keeps_lines_and_escapes_formulas():
    assert figure_text('a $x$\n\x1bb') == 'a \\$x\\$\n\\x1bb'


def test_to_utf8_escapes_bytes_that_are_no_utf_8():
    assert to_utf8('ä\udcff') == b'\xc3\xa4\\udcff'


@pytest.mark.parametrize('name', ['runs/a[1]', 'a*', 'what?', 'a\\b'])
def test_check_run_name_refuses_patterns(name):
    with pytest.raises(UserError, match='TensorFlow cannot read from a folder with'):
        check_run_name(name)
    check_utf8(name)


def test_check_run_name_accepts_all_other_names():
    check_run_name('a b#%$<ä>:{1}')
    with pytest.raises(UserError, match='its name is not UTF-8'):
        check_run_name('a\udcff')
