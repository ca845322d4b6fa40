"""Two Strategies on TYK2, compared on the same simulated compute.

Under one seed the same repeat of the same Transformation has the same result, whichever Strategy asks for it.
Run it anywhere: python campaign.py
"""

from datetime import timedelta

from alchemiscale_strategist import Specification
from alchemiscale_strategist.ports import StrategyPayload
from alchemiscale_strategist.simulation.campaign import Campaign, simulate_campaign
from alchemiscale_strategist.simulation.compute import ComputeSettings
from alchemiscale_strategist.simulation.examples import tyk2
from alchemiscale_strategist.simulation.report import summary
from alchemiscale_strategist.simulation.truth import truth_from_results

network, results = tyk2()
truth = truth_from_results(network, results)
specification = Specification(mode="full", task_scaling="proportional", sleep_interval=timedelta(hours=2))
strategies = {
    "3 repeats each": StrategyPayload.native("uniform", {"repeats": 3}),
    "by connectivity": StrategyPayload.native("connectivity", {"cutoff": 0.8, "max_runs": None}),
}

print(f"{'strategy':<16} {'end':<8} {'Tasks':>5} {'GPU hours':>9} {'standard error':>15}")
for title, strategy in strategies.items():
    campaign = Campaign(
        network=network,
        truth=truth,
        strategy=strategy,
        specification=specification,
        compute=ComputeSettings(workers=16, failure_rate=0.05, seed=7),
    )
    figures = summary(simulate_campaign(campaign))
    print(
        f"{title:<16} {figures['end']:<8} {figures['tasks_completed']:>5} {figures['gpu_hours']:>9.0f} "
        f"{figures['standard_error']:>6.3f} kcal/mol"
    )
