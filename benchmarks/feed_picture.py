"""What was measured of the feed as a picture, beside the limit and the peers, and as a table of the docs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pairs import Result

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PANELS = {
    "CSV, narrow rows": ("csv-narrow",),
    "CSV, wide rows": ("csv-wide",),
    "table, narrow rows": ("table-narrow", "peers-narrow"),
    "table, wide rows": ("table-wide", "peers-wide"),
}
BATCH = 1024
_LIMITS = ("raw pyarrow stream without tensors", "raw pyarrow scan without tensors")
_OURS, _LIMIT, _OTHER = "#2a7f62", "#555555", "#c9a227"


def bars(results: Sequence[Result], parts: Sequence[str]) -> dict[str, tuple[float, str]]:
    """Returns rows per second of each way, ours as 1, with its colour; fastest first."""
    found = {"pai_train": (1.0, _OURS)}
    for one in results:
        if one.part not in parts or one.batch != BATCH or not one.against or "A/A" in one.against:
            continue
        if one.against.endswith(" by queue_runner"):
            rival = one.against.removesuffix(" by queue_runner")
            ours = next(r for r in results if (r.part, r.batch, r.against) == (one.part, BATCH, rival))
            found["pai_train, engine=queue_runner"] = (one.ratio / ours.ratio, _OURS)
        elif one.against.endswith(", shuffled"):
            found["pai_train, shuffled"] = (one.ratio, _OURS)
        else:
            found[one.against] = (1 / one.ratio, _LIMIT if one.against in _LIMITS else _OTHER)
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def draw(results: Sequence[Result], path: Path) -> None:
    """Draws how fast each way is beside ours, on a logarithmic axis."""
    from matplotlib import pyplot

    panels = {title: bars(results, parts) for title, parts in PANELS.items()}
    panels = {title: found for title, found in panels.items() if len(found) > 1}
    if not panels:
        raise SystemExit("there is nothing to draw yet: measure csv and table parts with B=1024")
    heights = [len(found) for found in panels.values()]
    figure, axes = pyplot.subplots(
        len(panels), figsize=(10, 0.3 * sum(heights) + 0.9 * len(panels)), layout="constrained", height_ratios=heights
    )
    for one, (title, found) in zip([axes] if len(panels) == 1 else axes, panels.items(), strict=True):
        _panel(one, title, found)
    figure.savefig(path, dpi=110)


def _panel(axes: Any, title: str, found: dict[str, tuple[float, str]]) -> None:
    places = range(len(found), 0, -1)
    axes.barh(places, [value for value, _ in found.values()], color=[colour for _, colour in found.values()])
    axes.set_yticks(places, list(found), fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(right=max(value for value, _ in found.values()) * 2)
    axes.set_title(f"{title}: rows per second, pai_train as 1, batches of {BATCH:,}", fontsize=9, loc="left")
    for place, (value, _) in zip(places, found.values(), strict=True):
        axes.text(value, place, f" {value:.2g}", va="center", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def write_docs(results: Sequence[Result], page: Path) -> None:
    """Puts a table of the results between the page's marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{page} lacks the lines {BEGIN} and {END}")
    lines = ["| case | median | least | most | required | |", "|---|---|---|---|---|---|", *map(_line, results)]
    page.write_text("\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"]), encoding="utf-8")


def _line(one: Result) -> str:
    bound = "" if one.required is None else f"{'≤' if one.most else '≥'} {one.required:g}"
    kept = "" if one.required is None else "kept" if one.kept else "missed"
    return f"| {one.case} | {one.ratio:.3g} | {one.min:.3g} | {one.max:.3g} | {bound} | {kept} |"
