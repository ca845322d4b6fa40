"""Simulated campaigns: the whole engine in virtual time, to the end, and the same for the same seed."""

import math
import random
from dataclasses import replace
from datetime import timedelta
from statistics import fmean, stdev

import pytest

from alchemiscale_strategist import (
    NetworkGraph,
    NetworkResults,
    Repeat,
    Specification,
    StrategyStatus,
    TaskStatus,
    read_results,
)
from alchemiscale_strategist.adapters.clock import SystemClock
from alchemiscale_strategist.adapters.sqlite import SQLiteStore
from alchemiscale_strategist.errors import MissingDependencyError, RejectedInputError
from alchemiscale_strategist.ports import StrategyPayload
from alchemiscale_strategist.simulation.campaign import Campaign, CampaignEnd, simulate_campaign
from alchemiscale_strategist.simulation.compute import ComputeSettings
from alchemiscale_strategist.simulation.examples import tyk2
from alchemiscale_strategist.simulation.plot import save_plot
from alchemiscale_strategist.simulation.precision import PrecisionModel, equal_repeats
from alchemiscale_strategist.simulation.report import comparison, sampling_error, summary, to_json
from alchemiscale_strategist.simulation.truth import made_up_truth, truth_from_results


@pytest.fixture(scope="module")
def tyk2_campaign():
    network, results = tyk2()
    return Campaign(
        network=network,
        truth=truth_from_results(network, results),
        strategy=StrategyPayload.native("connectivity"),
        specification=Specification(mode="full"),
        compute=ComputeSettings(failure_rate=0.1, seed=3),
    )


@pytest.fixture(scope="module")
def tyk2_run(tyk2_campaign):
    return simulate_campaign(tyk2_campaign)


def test_a_campaign_ends_dormant_with_what_the_strategy_wanted(tyk2_run):
    assert tyk2_run.end is CampaignEnd.DORMANT
    assert tyk2_run.health.status is StrategyStatus.DORMANT
    assert all(tyk2_run.results.count(key) >= 3 for key in tyk2_run.observation.keys)
    assert tyk2_run.observation.in_flight == 0
    assert tyk2_run.results.total == tyk2_run.final.tasks_completed == tyk2_run.health.last_iteration_result_count
    assert tyk2_run.failures > 0


def test_every_failed_attempt_leaves_its_trace(tyk2_run):
    tasks = [task for state in tyk2_run.observation.transformations for task in state.tasks]
    assert sum(task.results - task.successful_results for task in tasks) == tyk2_run.failures
    assert {task.status for task in tasks} <= {TaskStatus.COMPLETE, TaskStatus.WAITING}


def test_the_same_seed_gives_the_same_campaign_and_another_another(tyk2_campaign, tyk2_run):
    assert to_json(simulate_campaign(tyk2_campaign)) == to_json(tyk2_run)
    other = replace(tyk2_campaign, compute=replace(tyk2_campaign.compute, seed=4))
    assert to_json(simulate_campaign(other)) != to_json(tyk2_run)


def test_two_strategies_get_the_same_results_for_the_same_repeats(tyk2_campaign, tyk2_run):
    uniform = replace(tyk2_campaign, strategy=StrategyPayload.native("uniform", {"repeats": 2}))
    other = simulate_campaign(uniform)
    for key in tyk2_run.observation.keys:
        # Repeats are numbered as they come in; the draws themselves are the same.
        first_two = {repeat.estimate for repeat in other.results.of(key)[:2]}
        assert first_two <= {repeat.estimate for repeat in tyk2_run.results.of(key)}


def test_results_scatter_around_the_truth_as_the_edges_do():
    network, results = tyk2()
    truth = truth_from_results(network, results)
    campaign = Campaign(
        network=network,
        truth=truth,
        strategy=StrategyPayload.native("uniform", {"repeats": 100}),
        specification=Specification(mode="full", max_tasks_per_transformation=100, task_scaling="proportional"),
        compute=ComputeSettings(workers=500),
    )
    run = simulate_campaign(campaign)
    deviations = [
        (repeat.estimate - truth[key].free_energy) / truth[key].spread
        for key in run.observation.keys
        for repeat in run.results.of(key)
    ]
    assert abs(fmean(deviations)) < 4 / math.sqrt(len(deviations))
    assert stdev(deviations) == pytest.approx(1.0, abs=4 / math.sqrt(2 * len(deviations)))


def test_the_truth_is_what_the_real_repeats_say():
    network, results = tyk2()
    truth = truth_from_results(network, results)
    for edge in network.transformations:
        estimates = [repeat.estimate for repeat in results.of(edge.key)]
        reported = fmean(repeat.uncertainty for repeat in results.of(edge.key))
        assert truth[edge.key].free_energy == fmean(estimates)
        assert truth[edge.key].spread == pytest.approx(max(stdev(estimates) / (math.pi**0.5 / 2), reported, 0.02))
        assert truth[edge.key].hours == {"complex": 4.48, "solvent": 0.58}[edge.leg]


def test_a_strategy_is_as_precise_as_its_repeats(tyk2_run):
    campaign = tyk2_run.campaign
    model = PrecisionModel(campaign.network, campaign.truth)
    counts = {key: tyk2_run.results.count(key) for key in tyk2_run.observation.keys}
    assert model.nodes == summary(tyk2_run)["nodes"] == "ligands"
    assert tyk2_run.final.standard_error == model.standard_error(counts)
    assert 0 < sampling_error(tyk2_run) < 3 * tyk2_run.final.standard_error
    once, _, thrice = equal_repeats(campaign.network, campaign.truth, most=3, failure_rate=0.0)
    three_each = {edge.key: 3 for edge in campaign.network.transformations}
    assert thrice.standard_error == pytest.approx(model.standard_error(three_each))
    assert thrice.tasks == 3 * once.tasks == 96
    assert once.gpu_hours == pytest.approx(16 * (4.48 + 0.58))
    assert len(comparison(tyk2_run)) == max(counts.values())


def test_equal_repeats_pay_for_failures_as_the_strategy_does(tyk2_campaign):
    """A world in which every second attempt fails costs what is expected of it."""
    strategy = StrategyPayload.native("uniform", {"repeats": 40})
    specification = Specification(mode="full", max_tasks_per_transformation=40, task_scaling="proportional")
    compute = ComputeSettings(failure_rate=0.5, max_restarts=60, workers=1280)
    campaign = replace(tyk2_campaign, strategy=strategy, specification=specification, compute=compute)
    run = simulate_campaign(campaign)
    network, truth = campaign.network, campaign.truth
    (without,) = equal_repeats(network, truth, most=1, failure_rate=0.0)
    (with_failures,) = equal_repeats(network, truth, most=1, failure_rate=0.5)
    useful = sum(truth[key].hours * len(repeats) for key, repeats in run.results.items())
    assert run.failures > 500
    assert run.final.gpu_hours / useful == pytest.approx(with_failures.gpu_hours / without.gpu_hours, rel=0.05)


def test_binding_free_energies_are_differences_of_legs():
    """By hand on two edges: variances of the legs add, and the errors of the legs subtract."""
    network, _ = tyk2()
    chosen = [edge for edge in network.transformations if edge.name.startswith(("ejm_31_ejm_42", "ejm_31_ejm_45"))]
    network = replace(network, transformations=tuple(chosen))
    spread = dict(zip((edge.key for edge in chosen), (0.3, 0.4, 0.6, 0.8), strict=True))
    truth = {key: replace(made_up_truth(network, seed=1)[key], spread=value) for key, value in spread.items()}
    model = PrecisionModel(network, truth)
    # One repeat each: edges of variance 0.25 and 1 from ejm_31; relative to the mean of three ligands.
    x, y = 0.25, 1.0
    variances = [(x + y) / 9, (4 * x + y) / 9, (x + 4 * y) / 9]
    assert model.standard_error(dict.fromkeys(spread, 1)) == pytest.approx(math.sqrt(sum(variances) / 3))
    errors = dict.fromkeys(spread, 0.0)
    errors[chosen[0].key], errors[chosen[1].key] = (0.5, 0.2) if chosen[0].leg == "complex" else (0.2, 0.5)
    # ejm_31 to ejm_42 is 0.3 too much, the other right: errors of -0.1, 0.2 and -0.1.
    assert sorted(model.sampling_errors(errors, dict.fromkeys(spread, 1))) == pytest.approx([-0.1, -0.1, 0.2])


def test_legs_without_partners_are_taken_as_they_stand(data):
    network = NetworkGraph.read(data / "small_network.json")
    assert PrecisionModel(network, made_up_truth(network, seed=0)).nodes == "ligands"
    complexes = replace(network, transformations=tuple(edge for edge in network if edge.leg == "complex"))
    model = PrecisionModel(complexes, made_up_truth(complexes, seed=0))
    assert model.nodes == "states"
    counts = {edge.key: 1 for edge in complexes}
    assert 0 < model.standard_error(counts) < math.inf
    assert model.standard_error({}) == math.inf


def test_the_spread_is_freed_of_its_bias():
    """Of three normal draws the sample standard deviation is 0.886 of the true one on average."""
    network, _ = tyk2()
    key = network.transformations[0].key
    network = replace(network, transformations=network.transformations[:1])
    draw = random.Random(1)  # noqa: S311 - not for secrets
    spreads = []
    for _ in range(4000):
        repeats = [Repeat(repeat=number, estimate=draw.gauss(0, 1), uncertainty=None) for number in range(3)]
        results = NetworkResults(transformations=(key,), repeats={key: repeats})
        spreads.append(truth_from_results(network, results)[key].spread)
    assert fmean(spreads) == pytest.approx(1.0, abs=0.04)


def test_a_failure_that_no_restart_mends_stalls_the_campaign(tyk2_campaign):
    hopeless = replace(tyk2_campaign, compute=ComputeSettings(failure_rate=0.5, max_restarts=0))
    run = simulate_campaign(hopeless)
    assert run.end is CampaignEnd.STALLED
    assert any("in error" in reason for reason in run.health.stalled)
    assert run.observation.in_flight == 0


def test_a_strategy_that_fails_ends_the_campaign(tyk2_campaign):
    run = simulate_campaign(replace(tyk2_campaign, strategy=StrategyPayload.native("uniform", {"repeats": -1})))
    assert run.end is CampaignEnd.ERROR
    assert "repeats" in run.health.error.message
    assert summary(run)["standard_error"] is None


def test_a_campaign_without_end_is_cut_off(tyk2_campaign):
    run = simulate_campaign(replace(tyk2_campaign, most_passes=2))
    assert run.end is CampaignEnd.UNFINISHED
    assert run.final.passes == 2


def test_partial_mode_lets_running_tasks_end_and_looks_again(tyk2_campaign):
    strategy = StrategyPayload.native("uniform", {"repeats": 1})
    specification = Specification(mode="partial", task_scaling="proportional", sleep_interval=timedelta(minutes=10))
    run = simulate_campaign(replace(tyk2_campaign, strategy=strategy, specification=specification))
    assert run.end is CampaignEnd.DORMANT
    # Three were put in flight on each at once, and nothing may be cancelled.
    assert run.final.tasks_completed == 96
    assert run.health.last_iteration_result_count == 96


def test_the_limits_hold_all_the_way(tyk2_campaign):
    in_flight = []
    specification = Specification(mode="full", max_tasks_per_network=7)
    run = simulate_campaign(
        replace(tyk2_campaign, specification=specification),
        on_progress=lambda progress: in_flight.append(progress.in_flight),
    )
    assert max(in_flight) == 7
    assert run.end is CampaignEnd.DORMANT


def test_the_store_can_be_kept_and_looked_into(tyk2_campaign, tmp_path):
    file = tmp_path / "campaign.sqlite"
    run = simulate_campaign(tyk2_campaign, store_path=file)
    with SQLiteStore(file, clock=SystemClock()) as store:
        key = tyk2_campaign.network.key
        assert store.observe(key) == run.observation
        assert store.get_strategy(key).health == run.health
        assert [record.iteration for record in store.iterations(key, limit=2)] == [
            run.health.iterations,
            run.health.iterations - 1,
        ]
    other = replace(tyk2_campaign.network, key="another")
    for campaign in (tyk2_campaign, replace(tyk2_campaign, network=other)):
        with pytest.raises(RejectedInputError, match="store"):
            simulate_campaign(campaign, store_path=file)


@pytest.mark.parametrize("name", ["tyk2", "hif2a", "mcl1", "thrombin"])
def test_real_networks_with_real_results(shared_data, name):
    network = NetworkGraph.read(shared_data / "campaigns" / f"{name}_openfe2024.json")
    results = read_results(shared_data / "campaigns" / f"{name}_openfe2024_results.csv", network)
    campaign = Campaign(
        network=network,
        truth=truth_from_results(network, results),
        strategy=StrategyPayload.native("connectivity", {"max_runs": 2}),
        specification=Specification(mode="full", task_scaling="proportional"),
        compute=ComputeSettings(workers=32),
    )
    run = simulate_campaign(campaign)
    assert run.end is CampaignEnd.DORMANT
    assert min(run.results.count(edge.key) for edge in network.transformations) >= 2


def test_a_network_without_results_gets_a_truth_of_its_seed(data):
    network = NetworkGraph.read(data / "small_network.json")
    assert made_up_truth(network, seed=1) == made_up_truth(network, seed=1)
    assert made_up_truth(network, seed=1) != made_up_truth(network, seed=2)


def test_a_transformation_without_a_truth_is_named(tyk2_campaign):
    with pytest.raises(RejectedInputError, match="ejm_31_ejm_42_complex"):
        replace(tyk2_campaign, truth={})


def test_one_repeat_is_too_few_to_know_a_spread():
    network, results = tyk2()
    first = network.transformations[0]
    fewer = replace_results(results, first.key, results.of(first.key)[:1])
    with pytest.raises(RejectedInputError, match=first.name):
        truth_from_results(network, fewer)


def replace_results(results, key, repeats):
    return type(results)(transformations=results.transformations, repeats={**results, key: repeats})


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("workers", {"workers": 0}),
        ("failure_rate", {"failure_rate": 1.0}),
        ("failure_rate", {"failure_rate": math.nan}),
        ("max_restarts", {"max_restarts": -1}),
    ],
)
def test_impossible_compute_is_refused_by_name(field, values):
    with pytest.raises(RejectedInputError, match=field):
        ComputeSettings(**values)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("extends_preference", {"extends_preference": 0.5}),
        ("sleep_interval", {"sleep_interval": 0}),
        ("mode", {"mode": "disabled"}),
    ],
)
def test_what_cannot_be_simulated_is_refused_by_name(tyk2_campaign, field, values):
    with pytest.raises(RejectedInputError, match=field):
        replace(tyk2_campaign, specification=Specification(**values))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_plots_are_what_their_names_say(tyk2_run, tmp_path, suffix):
    magic = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".html": b"<!DOCTYPE html>"}
    path = save_plot(tyk2_run, tmp_path / f"plot{suffix}")
    assert path.read_bytes().startswith(magic[suffix])
    if suffix == ".html":
        page = path.read_text(encoding="utf-8")
        assert "<svg" in page
        assert "ejm_31_ejm_42_complex" in page


def test_a_plot_needs_matplotlib_and_says_so(tyk2_run, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="matplotlib") as caught:
        save_plot(tyk2_run, tmp_path / "plot.png")
    assert "[plot]" in caught.value.remedy
