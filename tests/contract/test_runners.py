"""The contract suite over the runners of proposals: the one in this process, and the one in processes of their own."""

from datetime import timedelta

import pytest

from alchemiscale_strategist.adapters.in_process import InProcessRunner
from alchemiscale_strategist.adapters.process_pool import ProcessPoolRunner
from alchemiscale_strategist.testing.runners import RUNNER_STRATEGIES, ProposalRunnerContract


@pytest.fixture(scope="module")
def process_pool():
    """One for all tests: workers and their keepers outlive a test, as they do in a service."""
    with ProcessPoolRunner(workers=2, time_limit=timedelta(seconds=60), strategies=RUNNER_STRATEGIES) as runner:
        yield runner


class TestInProcessRunner(ProposalRunnerContract):
    @pytest.fixture
    def runner(self):
        return InProcessRunner(RUNNER_STRATEGIES)


class TestProcessPoolRunner(ProposalRunnerContract):
    @pytest.fixture
    def runner(self, process_pool):
        return process_pool
