"""How pages look: colours in a light and a dark setting, the style sheet,
and the words that explain a page."""

# ruff: noqa: RUF001 (the page is set like print: a minus is a minus, a dash a dash)

from __future__ import annotations

from ..plots import axes as drawn
from .markup import Markup

# By name: the colour as plots draw it, and that on a dark page.
COLOURS = {
    "ink": (drawn.INK, "#ececec"),
    "muted": (drawn.MUTED, "#a3a3a3"),
    "rule": (drawn.RULE, "#4a4a4a"),
    "blue": (drawn.BLUE, "#5ab4ec"),
    "vermilion": (drawn.VERMILION, "#ff8f4d"),
    "green": (drawn.GREEN, "#2cc39a"),
    "purple": (drawn.PURPLE, "#e3a0c5"),
    "orange": (drawn.ORANGE, "#f0b73d"),
    "sky": (drawn.SKY, "#3f8fc0"),
}
STYLE = Markup(
    ":root{color-scheme:light dark;--page:#fff;--card:#fafafa;--soft:#f1f3f5;"
    + "".join(f"--{name}:{light};" for name, (light, _) in COLOURS.items())
    + "}\n@media(prefers-color-scheme:dark){:root{--page:#15171a;--card:#1c1f23;--soft:#24282d;"
    + "".join(f"--{name}:{dark};" for name, (_, dark) in COLOURS.items())
    + """}}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;\
color:var(--ink);background:var(--page);margin:0}
main{max-width:80rem;margin:0 auto;padding:1.5rem clamp(.8rem,3vw,2rem) 4rem}
h1{font-size:clamp(1.6rem,4vw,2.2rem);line-height:1.15;margin:.5rem 0;\
letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.5rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
h3{font-size:1.05rem;margin:2rem 0 .6rem}
a{color:var(--blue)}
a:focus-visible,[tabindex]:focus-visible,summary:focus-visible{\
outline:2px solid var(--blue);outline-offset:2px}
.lead{max-width:46rem;color:var(--muted);margin:.2rem 0 1rem}
.run{border-top:2px solid var(--ink);margin-top:3.5rem;padding-top:1.2rem}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,\
1fr));gap:.7rem 1.2rem;margin:1rem 0}
.facts div{min-width:0} dt{font-size:.78rem;color:var(--muted)}
dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.note{border-left:4px solid var(--orange);background:var(--soft);\
padding:.5rem .9rem;margin:1rem 0;border-radius:0 6px 6px 0}
.curves{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,\
20rem),1fr));gap:1.2rem 1.4rem;align-items:start}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,\
15.5rem),1fr));gap:1rem}
.card{background:var(--card);border:1px solid var(--rule);\
border-radius:10px;padding:.8rem .9rem;min-width:0}
.card h4{margin:0;font-size:1.05rem;display:flex;\
justify-content:space-between;gap:.5rem;align-items:baseline;flex-wrap:wrap}
.card h4 small{font-weight:400;color:var(--muted);font-size:.8rem}
.card p{margin:.15rem 0 .5rem;font-size:.9rem}
figure{margin:0;min-width:0} .curves figure{max-width:36rem} .card figure{\
max-width:20rem;margin:.6rem auto 0}
figcaption{font-size:.82rem;color:var(--muted);line-height:1.4;margin-top:.2rem}
svg{display:block;width:100%;height:auto;overflow:visible;font-family:inherit}
.scroll{overflow-x:auto;border:1px solid var(--rule);border-radius:8px}
table{border-collapse:collapse;font-size:.86rem;width:100%;\
font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.6rem .7rem;color:var(--muted);caption-side:bottom}
th,td{padding:.36rem .7rem;text-align:left;vertical-align:top;\
border-bottom:1px solid var(--rule)}
tbody:last-of-type tr:last-child>*{border-bottom:0}
thead th{background:var(--soft);white-space:nowrap;font-weight:600}
tbody th{font-weight:500} .tour{font-size:.82rem}
.tour :is(td,th){padding:.32rem .5rem} .tour td{white-space:nowrap}
.tour tbody th[scope=rowgroup]{border-right:1px solid var(--rule);min-width:8.5rem}
.fields th:first-child{position:sticky;left:0;background:var(--soft);\
min-width:7.5rem;color:var(--muted)}
.fields td{min-width:11rem;max-width:20rem}
th small{display:block;font-weight:400;color:var(--muted)}
.legend{font-size:.9rem;margin:.6rem 0}.legend dt{margin-top:.6rem;\
font-weight:600;color:var(--ink)}
.mark{white-space:nowrap;font-weight:600}.mark i{font-style:normal;\
margin-right:.3em}
.minimum{color:var(--blue)}.strict{color:var(--vermilion)}.degenerate{\
color:var(--purple)}.none{color:var(--muted)}
@media not all and (prefers-color-scheme:dark){.strict{color:#b34700}\
.degenerate{color:#a3447c}}
details{margin:1rem 0;border:1px solid var(--rule);border-radius:8px;\
padding:.5rem .9rem} summary{cursor:pointer;font-weight:600}
pre{overflow-x:auto;font-size:.84rem;line-height:1.45;margin:.6rem 0;\
white-space:pre-wrap;overflow-wrap:anywhere}
.small{font-size:.82rem;color:var(--muted);overflow-wrap:anywhere}
@media print{.card,figure,tr{break-inside:avoid}.scroll{overflow:visible}}
"""
)
LEGEND = Markup("""<details><summary>How to read this page</summary>
<dl class=legend>
<dt>Plateau</dt><dd>A stretch of flow time in which the loss rests, shaded \
in the curves and found from the loss alone.
Flow time is learning rate × steps; the loss is a mean over samples, and \
squared loss carries the half.</dd>
<dt>Effective units</dt><dd>The units of the smallest network that computes \
the same map: the names above the shaded bands.</dd>
<dt>Certificate</dt><dd>The fixed point found behind a plateau (dashed: its \
loss), with its gradient norm in float64 and its
distance in weights from the run. Index: negative Hessian eigenvalues. Zero \
modes: eigenvalues that are zero to rounding.</dd>
<dt>Verdict</dt><dd><span class="mark strict"><i \
aria-hidden="true">▲</i>strict saddle</span>: descent at second order.
<span class="mark degenerate"><i aria-hidden="true">◆</i>degenerate \
saddle</span>: descent only at higher order.
<span class="mark minimum"><i aria-hidden="true">●</i>minimum</span>: no \
descent found, up to the order that the reason states.
<span class="mark none"><i aria-hidden="true">◇</i>undecided</span>:
what would decide is within rounding of zero, or lies across kinks.
<span class="mark none"><i aria-hidden="true">○</i>no fixed point found</span>:
none is close in weights, close in loss and slows the run down; the reason \
names the nearest and how it misses.</dd>
<dt>Construction</dt><dd>How Theorem 1 of Zhang, Saxe &amp; Latham (2026) \
embeds the narrow network in the wide one:
(i) copies of a unit, (ii) silent units, (iii) proportional units, (iv) \
linear combinations of units.</dd>
</dl></details>""")
