"""Settings are read, changed and documented from their classes."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass

from tfp_bruno.errors import UserError
from tfp_bruno.settings import STRICT, Count, Positive, Share, change, list_settings, read_toml, structure


@dataclass(frozen=True, config=STRICT)
class Inner:
    """Inner settings.

    Attributes:
        rate: How fast,
            per second.
        sizes: Sizes.
    """

    rate: Positive = 1.0
    sizes: tuple[Count, ...] = (1, 2)


@dataclass(frozen=True, config=STRICT)
class Outer:
    """Outer settings.

    Attributes:
        name: Its name.
        inner: Inner settings.
        share: A share; None for all.
        flag: Whether or not.
    """

    name: str
    inner: Inner = dataclasses.field(default_factory=Inner)
    share: Share | None = None
    flag: bool = False


@given(
    st.builds(
        Outer,
        st.text(),
        st.builds(Inner, st.floats(1e-300, 1e300), st.lists(st.integers(1, 10**9)).map(tuple)),
        st.none() | st.floats(0, 1),
        st.booleans(),
    )
)
def test_structure_is_the_inverse_of_asdict(settings):
    assert structure(Outer, dataclasses.asdict(settings), 'here') == settings


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({}, 'here: name is missing.'),
        ({'name': 1}, 'here: name = 1: should be a valid string.'),
        ({'name': 'a', 'inner': {'rate': 0}}, 'here: inner.rate = 0: should be greater than 0.'),
        ({'name': 'a', 'inner': {'sizes': [1, 2.5]}}, 'here: inner.sizes.1 = 2.5: should be a valid integer.'),
        ({'name': 'a', 'inner': {'sizes': 3}}, 'here: inner.sizes = 3: should be a valid array.'),
        ({'name': 'a', 'share': float('nan')}, 'here: share = NaN: should be a finite number.'),
        ({'name': 'a', 'flag': 1}, 'here: flag = 1: should be a valid boolean.'),
        ({'name': 'a', 'inner': {'colour': 1}}, 'here: inner.colour is not a setting; check its name.'),
        ([], 'here: should be an object.'),
    ],
    ids=str,
)
def test_structure_names_the_bad_setting(values, message):
    with pytest.raises(UserError) as caught:
        structure(Outer, values, 'here')
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ('assignment', 'value'),
    [
        ('a.b=3', 3),
        ('a.b=3.5', 3.5),
        ('a.b=.5', 0.5),
        ('a.b=1e-4', 1e-4),
        ('a.b=true', True),
        ('a.b=none', None),
        ('a.b=word', 'word'),
        ('a.b="3"', '3'),
        ('a.b=[1, 2]', [1, 2]),
        ('a.b={c = 1}', {'c': 1}),
        ('a.b=x=y', 'x=y'),
    ],
)
def test_change_reads_values_as_toml(assignment, value):
    before = {'a': {'b': 0, 'other': 1}, 'c': 2}
    assert change(before, [assignment]) == {'a': {'b': value, 'other': 1}, 'c': 2}
    assert before == {'a': {'b': 0, 'other': 1}, 'c': 2}


def test_change_of_the_architecture_takes_its_defaults():
    before = {'flow': {'architecture': 'one', 'size': 3}}
    assert change(before, ['flow.architecture=two', 'flow.width=1']) == {'flow': {'architecture': 'two', 'width': 1}}
    assert change(before, ['flow.architecture=one']) == before


@pytest.mark.parametrize('assignment', ['steps', '=3', 'a..b=1', '.a=1'])
def test_change_refuses_another_form(assignment):
    with pytest.raises(UserError, match='is not of the form NAME=VALUE'):
        change({}, [assignment])


def test_change_refuses_a_part_of_a_number():
    with pytest.raises(UserError, match=r'`set=a.b=1`: a has no parts'):
        change({'a': 3}, ['a.b=1'])


def test_list_settings_names_and_documents_each():
    listed = list(list_settings(Outer('x'), 'top.'))
    assert [str(setting) for setting in listed] == [
        'top.name=x',
        'top.inner.rate=1.0',
        'top.inner.sizes=[1, 2]',
        'top.share=none',
        'top.flag=false',
    ]
    assert listed[1].text == 'How fast, per second.'
    assert listed[3].text == 'A share; None for all.'


@pytest.mark.parametrize(
    ('content', 'words'), [(b'\xff\xfe', 'is not UTF-8 text'), (b'a = = 1', 'is not TOML'), (None, 'cannot be read')]
)
def test_read_toml_names_the_file(tmp_path, content, words):
    path = tmp_path / 'x.toml'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        read_toml(path)
    assert str(caught.value).startswith(f'{path}: ')
