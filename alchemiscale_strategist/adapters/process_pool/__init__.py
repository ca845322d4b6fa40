"""Proposals in processes of their own: what a Strategy does there harms neither the service nor its neighbours.

Three kinds of processes take part, and each trusts only those above it:

.. code-block:: text

    service      calls ProcessPoolRunner.propose, from any number of threads
    └─ keeper    one for each place of the pool (pebble); knows the limits, runs no Strategy, holds the service's pipes
       └─ worker   runs one proposal after the other: fresh interpreter, scrubbed environment, a socket to its keeper

All workers of a pebble pool share one pipe, and what arrives there is unpickled in the service; therefore Strategies
run one process further down, where that pipe cannot be reached by mistake, and only bounded JSON comes up from there.
"""

from alchemiscale_strategist.adapters.process_pool.runner import (
    DEFAULT_ENVIRONMENT,
    ProcessPoolRunner,
    ProposalCancelledError,
)

__all__ = ["DEFAULT_ENVIRONMENT", "ProcessPoolRunner", "ProposalCancelledError"]
