"""The table of participants, well formed and malformed."""

import pytest

from tfp_bruno.data.participants import read_participants
from tfp_bruno.errors import UserError


def test_reads_splits_with_blank_lines_and_missing_values(tmp_path):
    path = tmp_path / 'participants.tsv'
    path.write_bytes('\ufeffparticipant_id\tsplit\r\nsub-1\ttrain\r\n\r\nsub-2\tn/a\r\n'.encode())
    assert read_participants(path) == {'sub-1': 'train', 'sub-2': None}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'is empty'),
        ('participant_id,split\nsub-1,train\n', 'has no column participant_id'),
        ('participant_id\tsplit\nsub-1\n', 'line 2 has 1 fields, not 2'),
        ('participant_id\tsplit\nsub-1\tvalidation\n', 'line 2 has the split validation; write train or test'),
        ('participant_id\tsplit\n\ttest\n', 'line 2 has no participant_id'),
        ('participant_id\tsplit\na\ttrain\na\ttest\n', r'line 3: a is in both splits \(train and test\)'),
    ],
)
def test_malformed_tables(tmp_path, text, message):
    path = tmp_path / 'participants.tsv'
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_participants(path)
    assert str(caught.value).startswith(str(path))


def test_a_table_that_is_no_text(tmp_path):
    path = tmp_path / 'participants.tsv'
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='is not UTF-8'):
        read_participants(path)
    with pytest.raises(UserError, match='cannot be read'):
        read_participants(tmp_path)
