"""The workers of TF_CONFIG, and the wait for them."""

import json
import socket
import threading
import time

import pytest

from tfp_bruno.errors import UserError
from tfp_bruno.training.cluster import Cluster, wait_for_workers


def config(cluster, kind='worker', index=0):
    return json.dumps({'cluster': cluster, 'task': {'type': kind, 'index': index}})


TWO = {'worker': ['a:1', '[::1]:2']}


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (config(TWO, index=1), Cluster(('a:1', '[::1]:2'), 1)),
        (config({'worker': ['a:1', 'b:2'], 'chief': ['c:3']}, index=1), Cluster(('c:3', 'a:1', 'b:2'), 2)),
        (config({'worker': ['a:1'], 'chief': ['c:3']}, 'chief'), Cluster(('c:3', 'a:1'), 0)),
    ],
)
def test_parse_returns_the_workers_with_the_chief_first(text, expected):
    assert Cluster.parse(text) == expected


@pytest.mark.parametrize(
    ('text', 'word'),
    [
        (None, 'is not set'),
        ('', 'is not set'),
        ('{', 'is not JSON'),
        ('[]', 'needs the objects "cluster" and "task"'),
        ('{"task": {"type": "worker", "index": 0}}', 'needs the objects'),
        (json.dumps({'cluster': TWO}), 'needs the objects'),
        (config({}), 'has 0 worker'),
        (config({'worker': ['a:1']}), 'has 1 worker'),
        (config({'chief': ['a:1']}, 'chief'), 'has 1 worker'),
        (config({**TWO, 'ps': ['c:3']}), 'has the job "ps"'),
        (config({'worker': 'a:1'}), 'list of addresses host:port for "worker"'),
        (config({'worker': ['a', 'b']}), 'list of addresses'),
        (config({'worker': ['a:1', 'b:70000']}), 'list of addresses'),
        (config({'worker': ['a:1', None]}), 'list of addresses'),
        (config({'worker': ['a:1', 'a:1']}), 'an address twice'),
        (config({'worker': ['a:1'], 'chief': ['b:2', 'c:3']}), 'two chiefs'),
        (config(TWO, index=2), "type 'worker' and index 2"),
        (config(TWO, index=-1), "type 'worker' and index -1"),
        (config(TWO, index=None), 'index None'),
        (config(TWO, 'evaluator'), "type 'evaluator'"),
    ],
)
def test_parse_refuses_what_is_no_cluster_of_two_workers(text, word):
    with pytest.raises(UserError) as caught:
        Cluster.parse(text)
    assert str(caught.value).startswith('TF_CONFIG: ')
    assert word in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.fixture
def free_addresses():
    servers = [socket.create_server(('localhost', 0)) for _ in range(3)]
    addresses = tuple(f'localhost:{server.getsockname()[1]}' for server in servers)
    for server in servers:
        server.close()
    return addresses


def test_wait_for_workers_ends_when_all_are_there(free_addresses):
    ended = []

    def wait(index):
        time.sleep(0.3 * index)
        wait_for_workers(Cluster(free_addresses, index), seconds=20.0)
        ended.append(index)
        # As TensorFlow's server does from then on.
        with socket.create_server(('', int(free_addresses[index].rpartition(':')[2]))):
            done.wait(20.0)

    done = threading.Event()
    threads = [threading.Thread(target=wait, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20.0
    while len(ended) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    done.set()
    for thread in threads:
        thread.join()
    assert sorted(ended) == [0, 1, 2]


def test_wait_for_workers_names_one_that_is_missing(free_addresses):
    with pytest.raises(UserError) as caught:
        wait_for_workers(Cluster(free_addresses[:2], 0), seconds=0.5)
    assert str(caught.value).startswith(f'TF_CONFIG: worker 1 ({free_addresses[1]}) was not reached in 0.5 seconds')


def test_wait_for_workers_needs_a_free_port(free_addresses):
    port = int(free_addresses[0].rpartition(':')[2])
    with (
        socket.create_server(('', port)),
        pytest.raises(UserError, match=rf'cannot listen at port {port} \(Address already in use\);'),
    ):
        wait_for_workers(Cluster(free_addresses, 0), seconds=0.5)
