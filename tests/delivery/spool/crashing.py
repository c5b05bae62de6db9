"""A process that appends without end until it is killed, and what its heir finds.

``python -m tests.delivery.spool.crashing [rounds] [policy]`` is the long run, by default 1,000 rounds.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.delivery.spool.spools import a_batch, open_spool

_TELL = struct.Struct("<cQ")
SIZES = (0, 50, 500, 5_000, 70_000)


def size_of(number: int) -> int:
    """Return the size of the body of a batch."""
    return SIZES[number % len(SIZES)]


def append_for_ever(root: str, policy: str, first: int) -> None:
    """Take over, append and settle, and tell of each step on the standard output when it has returned."""
    spool = open_spool(root, capacity=1 << 40, fsync=policy, segment_bytes=100_000)
    held = []
    for entry in spool.take_over():
        held.append(entry)
        _tell(b"t", int(entry.id, 16))
    number = first
    random = Random(first)
    while True:
        held.append(spool.append(a_batch(number, size_of(number))))
        _tell(b"a", number)
        number += 1
        if random.random() < 0.6:
            entry = held.pop(random.randrange(len(held)))
            _tell(b"b", int(entry.id, 16))
            spool.settle(entry)
            _tell(b"s", int(entry.id, 16))


def _tell(verb: bytes, number: int) -> None:
    os.write(1, _TELL.pack(verb, number))


@dataclass
class Account:
    """What was told, and what was found, over all rounds."""

    rounds: int = 0
    appended: int = 0
    inherited: int = 0
    lost: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    corrupt: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    unacknowledged: int = 0
    torn: int = 0


def run(rounds: int, policy: str, root: Path, random: Random) -> Account:
    """Kill `rounds` processes, each of which takes over from the one before, and look at what each leaves."""
    account, first = Account(), 1
    pending: set[int] = set()
    for _ in range(rounds):
        told = _one_life(root, policy, first, random)
        account.rounds += 1
        begun: set[int] = set()
        for verb, number in told:
            if verb == b"a":
                pending.add(number)
                account.appended += 1
                first = number + 1
            elif verb == b"b":
                begun.add(number)
            elif verb == b"s":
                pending.discard(number)
                begun.discard(number)
        first += 1  # what was being written when it was killed may be there or not
        pending = _look(root, account, pending, begun, first - 1)
    return account


def _one_life(root: Path, policy: str, first: int, random: Random) -> list[tuple[bytes, int]]:
    command = [sys.executable, "-m", "tests.delivery.spool.crashing", "append", str(root), policy, str(first)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    output = process.stdout.read(_TELL.size)  # it is under way
    time.sleep(random.random() ** 2 * 0.03)  # the random point at which it is killed, not a wait for anything
    process.send_signal(signal.SIGKILL)
    output += process.stdout.read()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, "a crash loop"
    whole = len(output) - len(output) % _TELL.size
    return [(verb, number) for verb, number in _TELL.iter_unpack(output[:whole])]


def _look(root: Path, account: Account, pending: set[int], begun: set[int], unknown: int) -> set[int]:
    """Take over, compare with what must be there, and leave it for the next process."""
    heir = open_spool(root, capacity=1 << 40)
    found = []
    for entry in heir.take_over():
        number = int(entry.id, 16)
        batch = heir.read(entry)
        if batch != a_batch(number, size_of(number)):
            account.corrupt.append(number)
        found.append(number)
    numbers = set(found)
    account.inherited += len(numbers)
    account.torn += heir.damaged
    account.twice += [number for number in numbers if found.count(number) > 1]
    account.lost += sorted(pending - begun - numbers)
    account.unacknowledged += unknown in numbers
    account.repeated += sorted(numbers - pending - {unknown})
    for entry in [entry for segment in heir._segments for entry in segment.entries.values()]:
        if len(numbers) > 200:  # so that it does not grow for ever
            heir.settle(entry)
            numbers.discard(int(entry.id, 16))
    heir.close()
    return numbers


def main(rounds: int, policy: str) -> int:
    """Run the rounds, print what came out, and return 1 if anything was lost, corrupt or found twice."""
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        account = run(rounds, policy, Path(folder), Random())
    print(f"{account} in {time.monotonic() - started:.0f} s with fsync={policy}")
    return int(bool(account.lost or account.corrupt or account.twice or account.repeated))


if __name__ == "__main__":
    if sys.argv[1:2] == ["append"]:
        append_for_ever(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, sys.argv[2] if len(sys.argv) > 2 else "interval"))
