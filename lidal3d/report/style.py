# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""The report's style sheet and its few lines of script; both go into the page, nothing is fetched."""

from __future__ import annotations

from lidal3d.report.colors import GROUND, hex_color

CSS = """
:root{--bg:#f5f6f8;--card:#fff;--ink:#171b22;--soft:#5d6675;--line:#e2e5eb;--all:#b6bfcc;--picked:#2f5fe0;
--good:#1d8a52;--accent-bg:#eaf0ff;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--bg:#0d1015;--card:#161a21;--ink:#e8ebf1;--soft:#98a2b3;--line:#272d38;
--all:#4b5566;--picked:#7ea2ff;--good:#4fd08b;--accent-bg:#1b2540}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",Arial,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:1480px;margin:0 auto;padding:36px 28px 80px}
h1{font-size:28px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:19px;margin:44px 0 14px;letter-spacing:-.005em}
h3{font-size:16px;margin:0}
p{margin:0 0 8px}
small,.note,.soft{color:var(--soft)}
.note{font-size:12.5px;margin:8px 0 0}
.lead{color:var(--soft);max-width:100ch;margin:0 0 22px}
.panel{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px}
.grid{display:grid;gap:16px}
.tiles{grid-template-columns:repeat(auto-fit,minmax(190px,1fr))}
.two{grid-template-columns:repeat(auto-fit,minmax(460px,1fr))}
.four{grid-template-columns:repeat(auto-fit,minmax(300px,1fr))}
.grid+.grid{margin-top:16px}.two{align-items:start}
.panel h3{margin-bottom:8px}.card h3{margin:0;overflow-wrap:anywhere;min-width:0}.key{margin:-8px 0 10px}
.tile b{display:block;font-size:25px;line-height:1.25;font-weight:650}
.tile span{color:var(--soft);font-size:13px}
.meter{height:6px;border-radius:3px;background:var(--line);margin-top:10px;overflow:hidden}
.meter i{display:block;height:100%;background:var(--picked)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:0;font-size:14px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th{text-align:left;font-weight:500}
thead th{color:var(--soft);font-size:12px;font-weight:500;text-align:right;padding:0 0 6px 10px}
thead th:first-child{text-align:left;padding-left:0}
td{text-align:right;padding:3px 0 3px 10px;white-space:nowrap}
tbody th{padding:3px 12px 3px 0;white-space:nowrap}
.plain tbody tr+tr>*{border-top:1px solid var(--line)}.plain td,.plain tbody th{padding-top:6px;padding-bottom:6px}
td.bars{width:46%;min-width:64px}
.bars b{display:block;height:6px;border-radius:2px;min-width:1px;margin:1px 0}
.bars b.picked{background:var(--picked)}.bars b.all{background:var(--all)}
.chip{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:7px;vertical-align:-1px;
box-shadow:inset 0 0 0 1px rgb(0 0 0/.18)}
.chart{margin:0}.chart figcaption{font-weight:600;margin-bottom:6px}.chart small{font-weight:400}
.chart svg{width:100%;height:auto;display:block;overflow:visible}
.chart path.all{fill:var(--all);opacity:.75}
.chart path.picked{fill:var(--picked);fill-opacity:.28;stroke:var(--picked);stroke-width:1.5;
vector-effect:non-scaling-stroke}
.chart .axis{stroke:var(--line)}.chart .tick{font-size:11px;fill:var(--soft)}
.none{color:var(--soft);padding:30px 0;text-align:center}
.legend{display:flex;flex-wrap:wrap;gap:5px 16px;font-size:13px;align-items:center}
.bar{position:sticky;top:0;z-index:2;background:var(--bg);padding:12px 0;margin-bottom:6px;
border-bottom:1px solid var(--line);display:grid;gap:9px}
.bar .row{display:flex;flex-wrap:wrap;gap:8px 26px;align-items:center;justify-content:space-between}
.bar .note{margin:0}
.colorbar{display:flex;gap:9px;align-items:center;font-size:13px}
.colorbar>i{width:180px;height:11px;border-radius:6px}.rim{margin-left:12px}
.filter{font:inherit;font-size:14px;padding:6px 11px;border-radius:8px;border:1px solid var(--line);
background:var(--card);color:inherit;width:270px}
.card{margin-top:16px;padding:16px 18px 18px;scroll-margin-top:120px}
.card header{display:flex;gap:12px;align-items:baseline;flex-wrap:wrap;margin-bottom:3px}
.rank{font-weight:700;font-size:15px;background:var(--accent-bg);color:var(--picked);border-radius:7px;padding:1px 9px}
.reason{margin:0 0 12px;max-width:110ch}
.shots{display:grid;grid-template-columns:repeat(6,minmax(0,1fr));gap:10px;align-items:start}
.shot{margin:0;min-width:0}
.shot svg,.shot img{display:block;width:100%;height:auto;border-radius:8px;background:GROUND;cursor:zoom-in;
outline:1px solid var(--line)}
.shot figcaption{font-size:12.5px;color:var(--soft);margin-top:5px;white-space:nowrap;overflow:hidden;
text-overflow:ellipsis}
.wide2{grid-column:span 2}.wide3{grid-column:span 3}.wide4{grid-column:span 4}.wide5{grid-column:span 5}
.shot .empty{aspect-ratio:1;border:1px dashed var(--line);border-radius:8px;display:grid;place-items:center;
color:var(--soft);font-size:12.5px;text-align:center;padding:8px}
.shot figcaption b{color:var(--ink);font-weight:600}
.outline{fill:none;stroke:#fff;stroke-width:2;stroke-opacity:.6;stroke-dasharray:7 6}
.part{fill:none;stroke:#fff;stroke-width:2;paint-order:stroke;filter:drop-shadow(0 0 1px #000)}
.ink{fill:none;stroke:#e9edf5;stroke-width:3}
.ink-text{fill:#e9edf5;font-size:22px;font-weight:600;paint-order:stroke;stroke:#10141b;stroke-width:4px}
.dart{fill:#ff6b4a;stroke:#10141b;stroke-width:1}
.facts{display:flex;flex-wrap:wrap;gap:5px 20px;margin-top:12px;font-size:13px;color:var(--soft)}
.facts b{color:var(--ink);font-weight:600}.facts .wide b{font-weight:400}
.facts .wide{flex-basis:100%}
dialog{border:0;padding:0;background:transparent;max-width:none;max-height:none}
dialog::backdrop{background:rgb(5 7 10/.82)}
dialog>*{display:block;width:min(92vmin,1400px);height:auto;border-radius:10px;background:GROUND;cursor:zoom-out}
footer{margin-top:44px;color:var(--soft);font-size:12.5px}
@media(max-width:1000px){.shots{grid-template-columns:repeat(3,minmax(0,1fr))}
.wide4,.wide5{grid-column:span 3}.two{grid-template-columns:1fr}}
@media print{.bar{position:static}.filter{display:none}.card{break-inside:avoid}}
""".replace("GROUND", hex_color(GROUND))

SCRIPT = """
const zoom=document.querySelector('dialog'),filter=document.querySelector('.filter');
document.querySelectorAll('.shot svg,.shot img').forEach(e=>e.addEventListener('click',()=>{
zoom.replaceChildren(e.cloneNode(true));zoom.showModal()}));
zoom.addEventListener('click',()=>zoom.close());
if(filter)filter.addEventListener('input',()=>{const words=filter.value.toLowerCase().split(/\\s+/);
document.querySelectorAll('.card').forEach(c=>{const t=c.dataset.text;c.hidden=!words.every(w=>t.includes(w))})});
"""
