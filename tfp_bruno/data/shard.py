"""A share of many subjects, so that several processes or machines divide them among each other."""

import dataclasses
import re

from tfp_bruno.errors import UserError

__all__ = ['Shard']


@dataclasses.dataclass(frozen=True)
class Shard:
    """Every `count`-th subject, from the `number`-th on.

    Attributes:
        number: Number of the shard, from 1 to `count`.
        count: Number of shards.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> 'Shard':
        """Returns the shard of a text such as '2/8'.

        Raises:
            UserError: If it is no such text, or there is no shard of that number.
        """
        match = re.fullmatch(r'(\d{1,9})/(\d{1,9})', text, re.ASCII)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f'`shard={text}`: give number/count, such as 2/8, with numbers from 1 to the count.')
        return cls(int(match[1]), int(match[2]))

    def indices(self, total: int) -> range:
        """Returns the indices of the shard's subjects among `total`; the shards differ by one subject at most."""
        return range(self.number - 1, total, self.count)

    def __str__(self) -> str:
        return f'{self.number}/{self.count}'
