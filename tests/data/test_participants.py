"""Well-formed and malformed tables of participants."""

import pytest

from tfp_bruno.data.participants import format_table, read_groups, read_participants, read_split, write_split
from tfp_bruno.errors import UserError


def test_read_participants_accepts_blank_lines_and_missing_values(tmp_path):
    path = tmp_path / 'participants.tsv'
    path.write_bytes('\ufeffparticipant_id\tsplit\r\nsub-1\ttrain\r\n\r\nsub-2\tn/a\r\n'.encode())
    assert read_participants(path) == {'sub-1': 'train', 'sub-2': None}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'is empty'),
        ('participant_id,split\nsub-1,train\n', 'has no column participant_id'),
        ('participant_id\tsplit\nsub-1\n', 'line 2 has 1 fields, not 2'),
        ('participant_id\tsplit\nsub-1\tdev\n', 'line 2 has the split dev; write train, validation or test'),
        ('participant_id\tsplit\n\ttest\n', 'line 2 has no participant_id'),
        ('participant_id\tsplit\na\ttrain\na\ttest\n', r'line 3: a is in two splits \(train and test\)'),
    ],
)
def test_read_participants_malformed_table_names_the_line(tmp_path, text, message):
    path = tmp_path / 'participants.tsv'
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_participants(path)
    assert str(caught.value).startswith(str(path))


def test_read_participants_refuses_files_that_are_not_text(tmp_path):
    path = tmp_path / 'participants.tsv'
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='is not UTF-8'):
        read_participants(path)
    with pytest.raises(UserError, match='cannot be read'):
        read_participants(tmp_path)


def test_read_split_returns_what_write_split_wrote(tmp_path):
    splits = {'a': 'train', 'b': 'test', 'c': 'validation'}
    write_split(tmp_path / 'run' / 'split.tsv', splits)
    assert read_split(tmp_path / 'run' / 'split.tsv') == splits


def test_read_split_needs_a_split_for_every_subject(tmp_path):
    (tmp_path / 'bad.tsv').write_text('participant_id\tsplit\na\t\n')
    with pytest.raises(UserError, match=r'bad\.tsv: a has no split'):
        read_split(tmp_path / 'bad.tsv')


def test_read_groups_reads_the_template_or_else_the_family(tmp_path):
    path = tmp_path / 'participants.tsv'
    path.write_text('participant_id\tfamily\na\t1\nb\t1\nc\tn/a\n')
    assert read_groups(path) == {'a': '1', 'b': '1'}
    path.write_text('participant_id\tfamily\ttemplate\na\t1\tGW25\nb\t1\tGW30\n')
    assert read_groups(path) == {'a': 'GW25', 'b': 'GW30'}
    path.write_text('participant_id\na\n')
    assert read_groups(path) == {}
    path.write_text('participant_id\tfamily\na\t1\na\t2\n')
    with pytest.raises(UserError, match=r'line 3: a has two entries of family \(1 and 2\); leave one'):
        read_groups(path)


def test_format_table_has_a_header_and_a_line_for_each_row():
    assert format_table(('name', 'age'), [('a', 1), ('b', 2.5)]) == 'name\tage\na\t1\nb\t2.5\n'
