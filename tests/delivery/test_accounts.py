"""The accounts: exact under threads, empty in a forked child, readable by a person."""

from __future__ import annotations

import os
from threading import Thread

from otel_forge.delivery.accounts import Account, Accounts, in_words


def test_counts_are_exact_under_32_threads() -> None:
    """No increment is lost."""
    accounts = Accounts()

    def work() -> None:
        for _ in range(1000):
            accounts.created("traces")
            accounts.delivered("traces", 1)
            accounts.failed("logs", 2)

    threads = [Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert accounts.read()["traces"] == Account(created=32000, delivered=32000, failed=0)
    assert accounts.read()["logs"] == Account(created=0, delivered=0, failed=64000)


def test_a_forked_child_starts_with_empty_accounts() -> None:
    """What the parent created is the parent's to deliver."""
    accounts = Accounts()
    accounts.created("traces", 5)
    child = os.fork()
    if child == 0:
        os._exit(0 if accounts.read()["traces"].created == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert accounts.read()["traces"].missing == 5


def test_counts_in_words() -> None:
    """Zeros are left out, and one is singular."""
    assert in_words({"traces": 1, "metrics": 0, "logs": 12}) == "1 span, 12 log records"
    assert in_words({"traces": 0}) == ""
