"""Reports as one HTML file, without scripts and links."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from realm_tf.evaluation.confidence import Confidence
from realm_tf.evaluation.ranking import RankingReport, ranking_table
from realm_tf.evaluation.report import Report
from realm_tf.evaluation.svg_plot import svg_plot

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem;
       margin: 2rem auto; padding: 0 1rem; color-scheme: light dark; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; text-align: right; overflow-wrap: anywhere;
         border-bottom: 1px solid #8884; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, .facts td { text-align: left; }
svg { margin: 1rem 1rem 0 0; max-width: 100%; }
svg text { font-size: 12px; fill: currentColor; }
svg polyline { fill: none; stroke-width: 2; }
svg .g { stroke: #8884; stroke-width: 1; }
svg .d { stroke: #8888; stroke-dasharray: 5 5; }
"""


def retrieval_html(
    title: str,
    rankings: Mapping[str, RankingReport],
    facts: Mapping[str, Any],
) -> str:
    """A page of the measures of rankings and their recall curves.

    Args:
        title: of the page.
        rankings: name of each ranking -> its measures.
        facts: names and values to tell below; nested ones are left out.
    """
    curves = {
        name: list(ranking.recall_at_k.items())
        for name, ranking in rankings.items()
    }
    parts = [
        _table(*ranking_table(rankings)),
        *_recall_curves("share of the relevant documents", curves),
    ]
    return _page(title, parts, facts)


def answers_html(title: str, report: Report, facts: Mapping[str, Any]) -> str:
    """A page of the scores of answers, with recall and confidence as plots.

    Args:
        title: of the page.
        report: `Report`.
        facts: see `retrieval_html`.
    """
    curves = {
        "an answer": list(report.answer_recall_at_k.items()),
        "own passage": list(report.block_recall_at_k.items()),
    }
    curves = {name: points for name, points in curves.items() if points}
    parts = _recall_curves("share of the questions", curves)
    if report.confidence is not None:
        parts += _confidence_plots(report.confidence)
    return _page(title, parts, facts)


def _recall_curves(
    what: str, curves: Mapping[str, Sequence[tuple[float, float]]]
) -> list[str]:
    ticks = sorted({k for points in curves.values() for k, _ in points})
    if not ticks:
        return []
    plot = svg_plot(
        "Recall", "first k (log)", what, curves, x_ticks=ticks, is_log=True
    )
    return [plot]


def _confidence_plots(confidence: Confidence) -> list[str]:
    risks = [(share, risk) for share, risk, _ in confidence.risk_coverage()]
    bins = [
        (b.probability, b.share_right)
        for b in confidence.reliability()
        if b.probability is not None and b.share_right is not None
    ]
    return [
        svg_plot(
            "Risk at each coverage",
            "coverage: share of questions that are answered, surest first",
            "risk: share of wrong answers",
            {"risk": risks},
        ),
        svg_plot(
            "Reliability",
            "probability of the answers in a bin",
            "share of right answers",
            {"answers": bins},
            has_diagonal=True,
        ),
    ]


def _page(title: str, parts: Sequence[str], facts: Mapping[str, Any]) -> str:
    rows = [
        (name.removeprefix("num_").replace("_", " "), value)
        for name, value in facts.items()
        if not isinstance(value, dict)
    ]
    body = "\n".join([*parts, _table((), rows, "facts")])
    name = html.escape(title)
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width'>\n"
        f"<title>{name}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{name}</h1>\n{body}\n</body>\n</html>\n"
    )


def _table(
    columns: Iterable[str], rows: Iterable[Iterable[Any]], kind: str = "scores"
) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    lines = [f"<tr>{head}</tr>"] if head else []
    for row in rows:
        cells = "".join(f"<td>{html.escape(_cell(cell))}</td>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return f"<table class='{kind}'>\n" + "\n".join(lines) + "\n</table>"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:.4f}" if isinstance(value, float) else str(value)
