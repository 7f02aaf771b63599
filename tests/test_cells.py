"""Cells that run a second time in one kernel, as they do when a reader changes something."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
from kernels import Kernel, kernel

from shoplab.waiting import until

pytestmark = pytest.mark.server  # a kernel, and what is started in it

SET_UP = """
import time
from shoplab import Lab

def sleeper():
    time.sleep(600)

def quick():
    return 1

def start_by_helper():
    return lab.run(sleeper)
"""

NEW_LAB = "lab = Lab('00-0', traced=False)"


@pytest.fixture(scope="module")
def shared() -> Iterator[Kernel]:
    with kernel() as started:
        assert not started.run(SET_UP).error
        yield started


@pytest.fixture
def notebook(shared: Kernel) -> Kernel:
    """The kernel with a new lab, which ends what the last test has left."""
    assert not shared.run(NEW_LAB).error
    return shared


def processes(notebook: Kernel) -> int:
    return len(notebook.children())


def test_a_lab_takes_the_place_of_the_kernels_earlier_one(notebook: Kernel) -> None:
    notebook.run("first = lab; worker = lab.run(sleeper)")
    pid = int(notebook.value("worker.pid"))
    again = notebook.run(NEW_LAB)
    assert (again.stderr, again.error) == ("", "")
    assert not psutil.pid_exists(pid)
    assert notebook.value("first.directory.exists(), lab.directory.exists()") == "False True"


def test_labs_of_two_numbers_live_side_by_side(notebook: Kernel) -> None:
    notebook.run("worker = lab.run(sleeper); other = Lab('00-1', traced=False)")
    assert notebook.value("worker.alive, lab.directory.exists()") == "True True"
    notebook.run("other.close()")


def test_labs_that_a_with_block_holds_live_side_by_side(notebook: Kernel) -> None:
    held = notebook.run("""
with Lab('held', traced=False) as a:
    one = a.run(sleeper)
    with Lab('held', traced=False) as b:
        other = b.run(sleeper)
        print(one.alive, other.alive, lab.directory.exists())
print(one.alive, other.alive, lab.directory.exists())
""")
    assert held.stdout.split() == ["True"] * 3 + ["False", "False", "True"]


def test_a_cell_that_runs_again_replaces_what_it_had_started(notebook: Kernel) -> None:
    first = notebook.run("worker = lab.run(sleeper); other = lab.run(sleeper)", cell="a")
    assert first.stderr == ""
    pids = notebook.value("worker.pid, other.pid").split()
    assert processes(notebook) == 2  # one run of a cell keeps both

    edited = notebook.run("worker = lab.run(sleeper)", cell="a")
    assert edited.stderr == "Ended what this cell had started before: sleeper, sleeper-2.\n"
    assert processes(notebook) == 1
    assert not any(psutil.pid_exists(int(pid)) for pid in pids)


def test_what_two_cells_start_stays_also_by_one_helper(notebook: Kernel) -> None:
    for cell in ("a", "b"):
        assert notebook.run("start_by_helper()", cell=cell).stderr == ""
    assert processes(notebook) == 2


def test_what_has_ended_by_itself_is_replaced_without_a_word(notebook: Kernel) -> None:
    notebook.run("def failing(): raise ValueError('out of stock')")
    for _ in range(2):
        output = notebook.run(
            """
lab.run(quick).result()
failed = lab.run(failing)
lab.until(lambda: not failed.alive)
""",
            cell="a",
        )
        assert (output.stderr, output.error) == ("", "")


def test_where_a_front_end_names_no_cells_nothing_is_replaced(notebook: Kernel) -> None:
    for _ in range(2):
        assert notebook.run("worker = lab.run(sleeper)").stderr == ""
    assert processes(notebook) == 2


def test_a_service_is_served_again_on_the_port_that_its_cell_has_chosen(notebook: Kernel) -> None:
    notebook.run("from shoplab.ports import free_ports; (port,) = free_ports(1)")
    for _ in range(2):
        served = notebook.run(
            """
async def answer(scope, receive, send):
    pass

service = lab.serve(lambda: answer, name="shop", port=port)
""",
            cell="a",
        )
        assert served.error == ""
    assert served.stderr == "Ended what this cell had started before: shop.\n"
    assert processes(notebook) == 1


BREAKABLE = """
cluster = lab.cluster(brokers=1)
print(cluster.pid(1))
"""

ON_SERVERS = """
from kafka import KafkaAdminClient
from sqlalchemy import create_engine, inspect, text

orders, schema = lab.topic("orders"), f"lab_00_0_{lab.suffix}"
engine = create_engine(lab.database_url)
print(orders, schema)
"""

WHAT_IS_THERE = """
engine = create_engine(lab.database_url)
print(*KafkaAdminClient(**lab.kafka).list_topics(), *inspect(engine).get_schema_names())
"""


def test_a_second_run_of_all_cells_has_one_cluster_and_nothing_of_the_first(
    notebook: Kernel,
) -> None:
    first = int(notebook.run(BREAKABLE, cell="a").stdout)
    again = notebook.run(BREAKABLE, cell="a")
    assert again.stderr.startswith("Ended what this cell had started before: Apache Kafka")
    assert not psutil.pid_exists(first)

    topic, schema = notebook.run(ON_SERVERS, cell="b").stdout.split()
    assert {topic, schema} <= set(notebook.run(WHAT_IS_THERE).stdout.split())
    new = notebook.run(NEW_LAB)
    assert (new.stderr, new.error) == ("", "")
    until(lambda: not psutil.pid_exists(int(again.stdout)))
    assert not {topic, schema} & set(notebook.run(WHAT_IS_THERE).stdout.split())


def test_a_transaction_left_open_costs_a_sentence(notebook: Kernel) -> None:
    notebook.run(
        ON_SERVERS
        + """
with engine.begin() as connection:
    connection.execute(text("CREATE TABLE orders (id int)"))
left_open = engine.connect()
left_open.execute(text("SELECT id FROM orders"))
"""
    )
    new = notebook.run(NEW_LAB)
    assert new.error == ""
    assert new.stderr.startswith("The earlier run of 00-0 did not end cleanly: ")
    assert new.stderr.count("\n") == 1 and "lock timeout" in new.stderr
    assert notebook.value("lab.run(quick).result()") == "1"
    notebook.run("left_open.close()")


def test_a_cell_that_enters_something_again_leaves_what_it_had_entered(notebook: Kernel) -> None:
    notebook.run(
        "from contextlib import contextmanager\n"
        "told = []\n"
        "@contextmanager\n"
        "def room():\n"
        "    told.append('in'); yield; told.append('out')\n"
    )
    notebook.run("lab.enter(room())", cell="room")
    notebook.run("lab.enter(room())", cell="room")
    assert notebook.value("' '.join(told)") == "in out in"
