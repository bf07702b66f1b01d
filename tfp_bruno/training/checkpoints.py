"""The training states of a run on disk: the last few and the best; the newest that can be restored is used."""

import pathlib
import re
import shutil
from collections.abc import Callable

import tensorflow as tf

from tfp_bruno.errors import UserError, warn

_KEPT = 2


class Checkpoints:
    """Writes and restores the states of a `tf.train.Checkpoint`, one file prefix `ckpt-STEP` each.

    Which states there are is read from the files themselves, not from TensorFlow's list of them, which can be lost or
    stale after a crash.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint, folder: pathlib.Path) -> None:
        """Takes what is saved, which must restore completely, and where; only one process may save there."""
        self._checkpoint = checkpoint
        self._folder = folder

    def path(self, step: int) -> pathlib.Path:
        """Returns the path prefix of the state of a step."""
        return self._folder / f'ckpt-{step}'

    def save(self, step: int, best: int | None = None) -> None:
        """Removes what an interrupted save left, writes the state of a step, then removes all but the last few.

        Args:
            step: The step.
            best: A step whose state, if there is one, is kept beside the last few.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._folder.glob('ckpt-*_temp*'):
            shutil.rmtree(path, ignore_errors=True)
        # TensorFlow writes under a temporary name, and the index last.
        self._checkpoint.write(str(self.path(step)))
        for old in set(self.steps()[:-_KEPT]) - {best}:
            for path in self._folder.glob(f'ckpt-{old}.*'):
                path.unlink()

    def steps(self) -> list[int]:
        """Returns the steps whose state is there, in order."""
        found = (re.fullmatch(r'ckpt-(\d+)\.index', path.name) for path in self._folder.glob('ckpt-*.index'))
        return sorted(int(match[1]) for match in found if match)

    def restore(self, restore: Callable[[str], None]) -> int | None:
        """Restores the newest state that can be read; a damaged one is named in a warning.

        Args:
            restore: Restores the state under a path prefix.

        Returns:
            The step of the state; None if the folder has none.

        Raises:
            UserError: If there are states, but none can be restored.
        """
        steps = self.steps()
        for step in reversed(steps):
            path = self.path(step)
            try:
                restore(str(path))
            except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
                reason = str(error).splitlines()[0][:100]
                if step == steps[0]:
                    raise UserError(
                        f'{path}: cannot be restored ({reason}), and there is no earlier state; train the run again in '
                        'another folder.'
                    ) from error
                warn(f'{path}: cannot be restored ({reason}); the state before it is used.')
            else:
                return step
        return None
