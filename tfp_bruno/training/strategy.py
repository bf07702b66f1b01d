"""The devices and processes of a training, and what its processes tell each other."""

import contextlib
import os
import pathlib
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from absl import logging

from tfp_bruno.errors import UserError
from tfp_bruno.training.cluster import Cluster, wait_for_workers

_Result = TypeVar('_Result')
# What operations raise in which the workers take part together, if one of them has ended.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
# What `together` passes on to the other workers, by its number.
_PASSED_ON: tuple[type[Exception], ...] = (UserError, FloatingPointError)
# File systems over a network may show a new file to other machines a minute later.
_FILE_SECONDS = 120.0
_POLL_SECONDS = 0.2


class LostWorkerError(UserError):
    """Another worker has ended, so that the training cannot go on."""


def choose_strategy(name: str) -> tf.distribute.Strategy:
    """Returns a strategy: one device, a mirrored copy of the model on each of several, or several workers.

    Args:
        name: 'one' device; 'mirrored', all GPUs, or all CPU devices where there is no GPU; 'auto', all GPUs if there
            are several; 'multi_worker', the processes of the environment variable TF_CONFIG, each with all its GPUs.
            The last one must be chosen before any other operation of TensorFlow, and waits for the other workers.

    Raises:
        UserError: If TF_CONFIG is missing or malformed, or a worker is not reached.
    """
    if name == 'multi_worker':
        return _join_workers(Cluster.parse(os.environ.get('TF_CONFIG')))
    gpus = tf.config.list_logical_devices('GPU')
    found = gpus or tf.config.list_logical_devices('CPU')
    if len(found) > 1 and (name == 'mirrored' or (name == 'auto' and gpus)):
        return tf.distribute.MirroredStrategy([device.name for device in found])
    return tf.distribute.get_strategy()


def _join_workers(cluster: Cluster) -> tf.distribute.Strategy:
    logging.info('Worker %d of %d waits for the others.', cluster.index, len(cluster.addresses))
    wait_for_workers(cluster)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({'worker': list(cluster.addresses)}),
        task_type='worker',
        task_id=cluster.index,
        rpc_layer='grpc',
    )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except (RuntimeError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0][:100]
        raise UserError(f'`strategy=multi_worker`: workers cannot be joined ({reason}); start all again.') from error
    if threading.current_thread() is threading.main_thread():
        # TensorFlow's server catches SIGTERM, and does nothing.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    return strategy


class Workers:
    """The processes that train one model together; most trainings have only one.

    All workers must call `gather`, and the methods that use it, in the same order.

    Attributes:
        index: Index of this process.
        count: Number of processes.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        """Takes the strategy of the training."""
        self.index, self.count = 0, 1
        self._strategy = strategy
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver = strategy.cluster_resolver
            jobs = resolver.cluster_spec().as_dict()
            tasks = [(job, index) for job in ('chief', 'worker') for index in range(len(jobs.get(job, [])))]
            if tasks:
                self.index, self.count = tasks.index((resolver.task_type, resolver.task_id)), len(tasks)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files."""
        return self.index == 0

    def gather(self, *values: float) -> np.ndarray:
        """Returns the numbers of all workers, float64 `[count, len(values)]`, the same in each.

        Raises:
            LostWorkerError: If another worker has ended.
        """
        if self.count == 1:
            return np.array([values], np.float64)
        with self.watched():
            rows = self._rows(tf.constant(values, tf.float64)).numpy()
        return rows[:: len(rows) // self.count]

    def of_chief(self, value: float) -> float:
        """Returns the number of the chief."""
        return float(self.gather(value)[0, 0])

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Raises a `LostWorkerError` if an operation of the block fails because another worker has ended."""
        try:
            yield
        except _LOST as error:
            if self.count == 1:
                raise
            raise LostWorkerError(
                'Another worker has ended, or cannot be reached; start all workers again, with `resume`.'
            ) from error

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Ends the block in all workers alike: an error that a user or the loss caused in one is one in all."""
        try:
            yield
        except LostWorkerError:
            raise
        except _PASSED_ON as error:
            self.gather(1 + [isinstance(error, kind) for kind in _PASSED_ON].index(True))
            raise
        for index, code in enumerate(self.gather(0)[:, 0].astype(int)):
            if code:
                raise _PASSED_ON[code - 1](f'worker {index} ended with an error; see its message')

    def chief_first(self, function: Callable[[], _Result]) -> _Result:
        """Returns the result of a function that the chief calls first: the others find the files that it wrote."""
        results = []
        for is_turn in (self.is_chief, not self.is_chief):
            with self.together():
                if is_turn:
                    results.append(function())
        return results[0]

    def check_equal(self, *values: Any) -> None:
        """Raises a `UserError` if settings are not those of the chief."""
        digest = zlib.crc32(repr(values).encode())
        with self.together():
            if digest != self.of_chief(digest):
                raise UserError(
                    f'worker {self.index}: has other settings or subjects than worker 0; start all workers with the '
                    'same flags, and `output_dir` on a file system that they share.'
                )

    @tf.function(autograph=False)
    def _rows(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the values of every replica, `[replicas, N]`."""
        strategy = self._strategy

        def place(values: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            row = tf.one_hot(context.replica_id_in_sync_group, strategy.num_replicas_in_sync, dtype=values.dtype)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, row[:, tf.newaxis] * values)

        return strategy.experimental_local_results(strategy.run(place, args=(values,)))[0]


def wait_for_file(path: pathlib.Path, seconds: float = _FILE_SECONDS) -> None:
    """Returns once a file is there that the chief wrote.

    Args:
        path: The file.
        seconds: Longest time to wait.

    Raises:
        UserError: If it does not appear.
    """
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise UserError(
                f'{path}: is still not visible {seconds:g} seconds after worker 0 wrote it; give `output_dir` on a '
                'file system that all workers share.'
            )
        time.sleep(_POLL_SECONDS)
