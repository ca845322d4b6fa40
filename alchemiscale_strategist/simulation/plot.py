"""The picture of a campaign: uncertainty against compute, as PNG, SVG, PDF or a page with its tables."""

from __future__ import annotations

import io
import math
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from alchemiscale_strategist.errors import MissingDependencyError, RejectedInputError
from alchemiscale_strategist.planning.tables import html_table
from alchemiscale_strategist.simulation.campaign import CampaignRun
from alchemiscale_strategist.simulation.report import (
    COMPARISON_COLUMNS,
    TRANSFORMATION_COLUMNS,
    comparison,
    comparison_rows,
    conclusions,
    summary,
    transformation_rows,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PLOT_SUFFIXES", "check_plot_path", "save_plot"]

PLOT_SUFFIXES = (".png", ".svg", ".pdf", ".html")


def check_plot_path(path: Path) -> None:
    """Raise where :func:`save_plot` could not write to ``path``, before anything long is begun.

    Raises:
        RejectedInputError: the ending is none of ``PLOT_SUFFIXES``, or it cannot be written.
        MissingDependencyError: matplotlib is not installed.
    """
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise RejectedInputError(field="plot", value=str(path), expected=f"a file ending in {', '.join(PLOT_SUFFIXES)}")
    if not path.parent.is_dir():
        raise RejectedInputError(field="plot", value=str(path), expected="a file in a folder that exists")
    try:
        path.open("ab").close()
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        import matplotlib  # noqa: F401, PLC0415 - optional, and slow to import
    except ImportError:
        raise MissingDependencyError(feature="A plot", package="matplotlib", extra="plot") from None


def save_plot(run: CampaignRun, path: Path) -> Path:
    """Draw uncertainty against compute for the Strategy and for equal repeats everywhere, and save it.

    Raises:
        RejectedInputError: as :func:`check_plot_path`.
        MissingDependencyError: matplotlib is not installed.
    """
    check_plot_path(path)
    figure = _figure(run)
    try:
        if path.suffix.lower() == ".html":
            path.write_text(_page(run, figure), encoding="utf-8")
        else:
            figure.savefig(path, dpi=150)
    except OSError as error:
        raise _not_writable(path, error) from error
    return path


def _not_writable(path: Path, error: OSError) -> RejectedInputError:
    expected = f"a file that can be written ({error.strerror or error})"
    return RejectedInputError(field="plot", value=str(path), expected=expected)


def _figure(run: CampaignRun) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional, and slow to import

    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    axes = figure.add_subplot()
    course = [point for point in run.course if math.isfinite(point.standard_error)]
    equal = comparison(run)
    axes.plot(
        [point.gpu_hours for point in equal],
        [point.standard_error for point in equal],
        "o--",
        color="#8a8a8a",
        label="the same number of repeats everywhere",
    )
    for point in equal:
        axes.annotate(
            f"{point.repeats} each",
            (point.gpu_hours, point.standard_error),
            textcoords="offset points",
            xytext=(6, 6),
            fontsize=8,
            color="#5c5c5c",
        )
    axes.plot(
        [point.gpu_hours for point in course],
        [point.standard_error for point in course],
        color="#0b6e99",
        linewidth=2,
        label=f"Strategy '{run.campaign.strategy.name}'",
    )
    if course:
        axes.plot(course[-1].gpu_hours, course[-1].standard_error, "D", color="#0b6e99", label=f"end: {run.end.value}")
    axes.set_xlabel("compute (GPU hours)")
    axes.set_ylabel(f"expected standard error, rms over {run.precision.nodes} (kcal/mol)")
    axes.set_title(f"{run.campaign.network.name}: uncertainty against compute")
    axes.margins(0.1)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _page(run: CampaignRun, figure: Figure) -> str:
    drawing = io.StringIO()
    figure.savefig(drawing, format="svg")
    # An SVG file begins with an XML header, which has no place inside a page.
    svg = drawing.getvalue()[drawing.getvalue().index("<svg") :]
    title = escape(f"{run.campaign.network.name}: a simulated campaign")
    told = "".join(f"<p>{escape(sentence)}</p>" for sentence in conclusions(run))
    figures = [{"figure": name.replace("_", " "), "value": value} for name, value in summary(run).items()]
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font-family:sans-serif;margin:2em auto;max-width:60em}table{border-collapse:collapse;margin:1em 0}"
        "td,th{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}svg{max-width:100%;height:auto}"
        "caption{text-align:left;font-weight:bold}</style>"
        f"</head><body><h1>{title}</h1>{told}{svg}"
        f"{html_table(COMPARISON_COLUMNS, comparison_rows(run), caption='Against equal repeats (kcal/mol)')}"
        f"{html_table(TRANSFORMATION_COLUMNS, transformation_rows(run), caption='Transformations (kcal/mol)')}"
        f"{html_table(('figure', 'value'), figures, caption='Figures (energies in kcal/mol)')}"
        "</body></html>\n"
    )
