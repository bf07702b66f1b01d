"""Shards hold every subject once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfp_bruno.data import Shard
from tfp_bruno.errors import UserError


@given(st.integers(1, 20), st.integers(0, 50))
def test_shards_hold_every_subject_once(count, total):
    shards = [Shard.parse(f'{number}/{count}').indices(total) for number in range(1, count + 1)]
    assert sorted(index for shard in shards for index in shard) == list(range(total))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize(
    'text', ['', '2', '0/2', '3/2', '1/0', '-1/2', '1/2/3', 'a/b', '1 / 2', '1.0/2', '²/3', '1/2\n']
)
def test_shard_parse_refuses_other_texts(text):
    with pytest.raises(UserError, match='`shard='):
        Shard.parse(text)
