"""R7: the spool and its model agree over any row of writes, settles, failures, crashes, power cuts and damage.

``python -m tests.delivery.spool.long_machine`` is the long run.
"""

import pytest
from hypothesis import HealthCheck, settings

from tests.delivery.spool.machine import SpoolMachine

TestSpoolMachine = pytest.mark.gate(SpoolMachine.TestCase)
TestSpoolMachine.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
