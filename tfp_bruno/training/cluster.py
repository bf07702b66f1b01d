"""The processes that train one model together, as the environment variable TF_CONFIG describes them."""

import dataclasses
import json
import os
import socket
import time
from typing import Any

from tfp_bruno.errors import UserError

# The first job, if it is there, has one task.
_JOBS = ('chief', 'worker')
_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
_WAIT_SECONDS = 600.0
_POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a training, and which of them this process is.

    Attributes:
        addresses: `host:port` of each worker; the first one is the chief, which writes the files.
        index: Index of this process among them.
    """

    addresses: tuple[str, ...]
    index: int

    @classmethod
    def parse(cls, text: str | None) -> 'Cluster':
        """Returns the cluster of the JSON text of TF_CONFIG; the chief, if there is one, becomes the first worker.

        Raises:
            UserError: If the text is missing or malformed, or there are fewer than two workers.
        """
        if not text:
            raise _error('is not set')
        try:
            config = json.loads(text)
        except ValueError as error:
            raise _error(f'is not JSON ({error})') from error
        jobs, task = (config.get(key) if isinstance(config, dict) else None for key in ('cluster', 'task'))
        if not isinstance(jobs, dict) or not isinstance(task, dict):
            raise _error('needs the objects "cluster" and "task"')
        if unknown := [job for job in jobs if job not in _JOBS]:
            raise _error(f'has the job "{unknown[0]}", but a training has only "worker" and at most one "chief"')
        for job, addresses in jobs.items():
            if not isinstance(addresses, list) or not all(_is_address(address) for address in addresses):
                raise _error(f'needs a list of addresses host:port for "{job}"')
        tasks = [(job, index) for job in _JOBS for index in range(len(jobs.get(job, [])))]
        found = tuple(address for job in _JOBS for address in jobs.get(job, []))
        if len(found) < 2:
            raise UserError(f'TF_CONFIG: has {len(found)} worker; name at least two, or leave out `strategy`.')
        if len(set(found)) < len(found) or len(jobs.get('chief', [])) > 1:
            raise _error('names an address twice, or two chiefs')
        own = (task.get('type'), task.get('index'))
        if own not in tasks:
            raise _error(f'has no address for its own task, type {own[0]!r} and index {own[1]!r}')
        return cls(found, tasks.index(own))


def wait_for_workers(cluster: Cluster, seconds: float = _WAIT_SECONDS) -> None:
    """Returns once all other workers can be reached.

    TensorFlow's own wait for them neither ends nor can be interrupted. Until then this worker listens at its address,
    so that the others reach it.

    Args:
        cluster: The workers.
        seconds: Longest time to wait.

    Raises:
        UserError: If this worker cannot listen at its port, or another one is not reached in time.
    """
    port = _split(cluster.addresses[cluster.index])[1]
    try:
        listener = socket.create_server(('', port), backlog=len(cluster.addresses))
    except OSError as error:
        # Without the address, which `strerror` repeats.
        reason = os.strerror(error.errno or 0)
        raise UserError(
            f'TF_CONFIG: worker {cluster.index} cannot listen at port {port} ({reason}); give a free port.'
        ) from error
    with listener:
        missing = [index for index in range(len(cluster.addresses)) if index != cluster.index]
        deadline = time.monotonic() + seconds
        while missing := [index for index in missing if not _is_reached(cluster.addresses[index])]:
            if time.monotonic() > deadline:
                raise UserError(
                    f'TF_CONFIG: worker {missing[0]} ({cluster.addresses[missing[0]]}) was not reached in '
                    f'{seconds:g} seconds; start it, or check its address.'
                )
            time.sleep(_POLL_SECONDS)


def _is_address(value: Any) -> bool:
    host, _, port = value.rpartition(':') if isinstance(value, str) else ('', '', '')
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 2**16


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(':')
    return host.strip('[]'), int(port)


def _is_reached(address: str) -> bool:
    try:
        socket.create_connection(_split(address), timeout=2.0).close()
    except OSError:
        return False
    return True


def _error(reason: str) -> UserError:
    return UserError(f'TF_CONFIG: {reason}; set it to, for example, {_EXAMPLE}.')
