"""Colours, type and the few rules that Gradio's theme does not cover. No font is fetched: the page works offline."""

import gradio as gr

__all__ = ["CSS", "THEME"]

_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.indigo,
    secondary_hue=gr.themes.colors.indigo,
    neutral_hue=gr.themes.colors.slate,
    font=_SANS,
    font_mono=_MONO,
    radius_size=gr.themes.sizes.radius_lg,
).set(
    # The theme's grey for secondary text has a contrast of 2.6 on white; AA asks for 4.5.
    body_text_color_subdued="*neutral_600",
    block_label_text_color="*neutral_700",
    block_title_text_color="*neutral_700",
    block_info_text_color="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    block_info_text_color_dark="*neutral_300",
)

CSS = """
.gradio-container { width: 100%; max-width: 1280px !important; margin: 0 auto !important; }
#title { min-width: min(100%, 420px) !important; }
#gallery { min-height: 240px; }
#title h1 { margin: 0 0 .1rem; font-size: 1.6rem; }
#title p { margin: 0; color: var(--body-text-color-subdued); }
.picture { display: block; width: 100%; height: auto; border-radius: var(--radius-md); image-rendering: auto; }
.status { min-height: 1.5em; font-size: .85rem; color: var(--body-text-color-subdued);
  font-variant-numeric: tabular-nums; }
/* A result keeps its place before it arrives: nothing below it jumps. */
.sheet { aspect-ratio: 1; min-height: 0; }
.sheet:empty, .sheet .empty { background: var(--background-fill-secondary); border-radius: var(--radius-md); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 8px; max-height: 520px;
  overflow-y: auto; padding: 2px; }
.card { position: relative; border: 1px solid var(--border-color-primary); border-radius: var(--radius-md);
  padding: 8px;
  font-size: .75rem; line-height: 1.35; background: var(--background-fill-primary); color: var(--body-text-color); }
.card img, .card .missing { display: block; width: 88px; height: 88px; margin: 0 auto 6px;
  border-radius: var(--radius-sm); }
.card .missing { background: var(--background-fill-secondary); font-size: 2.4rem; line-height: 88px; text-align: center;
  color: var(--body-text-color-subdued); }
.card .name { font-weight: 600; overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
.card .likelihood { font-variant-numeric: tabular-nums; }
.card .range { color: var(--body-text-color-subdued); }
.card.problem { border-color: #c2410c; } .card.problem .verdict { color: #c2410c; }
.card.warning { border-color: #b45309; } .card .warn { color: #b45309; }
.dark .card.problem .verdict { color: #fdba74; } .dark .card .warn { color: #fcd34d; }
.card.unused img { opacity: .35; }
.card label { display: flex; justify-content: space-between; align-items: center; gap: 4px; margin-top: 4px; }
.card select, .card input { min-width: 0; width: 84px; font-size: .75rem; padding: 2px 4px; color: inherit;
  background: var(--input-background-fill); border: 1px solid var(--border-color-primary);
  border-radius: var(--radius-sm); }
.card .remove { position: absolute; top: 2px; right: 2px; width: 28px; height: 28px; border-radius: 50%; border: none;
  background: transparent; color: inherit; font-size: 1.1rem; line-height: 1; cursor: pointer; }
.card .remove:hover { background: var(--background-fill-secondary); }
.card :focus-visible, .log-slider :focus-visible, .examples :focus-visible { outline: 2px solid var(--color-accent);
  outline-offset: 1px; }
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(84px, 1fr)); gap: 6px; }
.examples button { border: 1px solid var(--border-color-primary); border-radius: var(--radius-md); padding: 5px;
  background: var(--background-fill-primary); color: var(--body-text-color); font-size: .75rem; cursor: pointer; }
.examples button:hover { border-color: var(--color-accent); }
.examples img { display: block; width: 100%; height: auto; border-radius: var(--radius-sm); margin-bottom: 3px; }
.log-slider .row { display: flex; justify-content: space-between; align-items: baseline; font-size: .9rem; }
.log-slider output { font-weight: 600; font-variant-numeric: tabular-nums; }
.log-slider .track { position: relative; }
.log-slider input[type=range] { width: 100%; margin: 6px 0 0; position: relative; background: transparent;
  accent-color: var(--color-accent); }
.log-slider .band { position: absolute; top: 3px; height: 22px; border-radius: 6px; background: rgb(34 197 94 / .28);
  pointer-events: none; }
.log-slider .scale { position: relative; height: 1.3em; font-size: .7rem; color: var(--body-text-color-subdued); }
.log-slider .scale span { position: absolute; transform: translateX(-50%); }
.log-slider .scale span:first-child { transform: none;
  } .log-slider .scale span:last-child { transform: translateX(-100%); }
#gallery .grid-container { grid-template-columns: repeat(auto-fill, minmax(92px, 1fr)) !important; }
figure { margin: 0; } figcaption { font-size: .85rem; color: var(--body-text-color-subdued); padding: 4px 0; }
.table { display: flex; flex-wrap: wrap; gap: 24px; overflow-x: auto; font-size: .85rem; }
#numbers .table :is(th, td) { border: 0; border-bottom: 1px solid var(--border-color-primary); padding: 5px 8px; }
#numbers .table th { text-align: left; font-weight: 500; }
#numbers .table td { text-align: right; font-variant-numeric: tabular-nums; }
@media (max-width: 480px) { .cards { max-height: 360px; } .gradio-container { padding: 8px !important; }
  .tab-container button { padding-inline: 8px !important; font-size: .85rem; } }
/* Interpolate: the way between A and B; above them where there is no room for three columns. */
#interpolate-tab { align-items: flex-start; }
#interpolate-a h3, #interpolate-b h3 { margin: 0; font-size: 1.05rem; }
#interpolate-a .cards, #interpolate-b .cards { max-height: 330px; }
@media (max-width: 1000px) { #interpolate-way { order: -1; flex-basis: 100%; } }
#interpolate-buttons button { font-size: .9rem; white-space: nowrap; }
#interpolate-method label { padding: 6px 9px; }
.player .stage { position: relative; aspect-ratio: 2; border-radius: var(--radius-md);
  background: var(--background-fill-secondary); overflow: hidden; }
.player canvas { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
.player .hint { position: absolute; inset: 0; display: flex; align-items: center; justify-content: center; margin: 0;
  padding: 16px; text-align: center; color: var(--body-text-color-subdued); }
.player .hint[hidden] { display: none; }
.player .cell-names { position: absolute; left: 0; right: 0; bottom: 4px; display: flex; font-size: .8rem; }
.player .cell-names span { flex: 1; text-align: center; }
.player .bar { display: flex; gap: 12px; align-items: center; padding: 8px 0; }
.player .play { flex: none; width: 44px; height: 44px; border-radius: 50%; border: none; cursor: pointer; color: #fff;
  background: var(--color-accent); display: flex; align-items: center; justify-content: center; }
.player .play:disabled { opacity: .4; cursor: default; }
.player .play svg { fill: currentColor; } .player .is-playing, .player .playing .is-paused { display: none; }
.player .playing .is-playing { display: inline; }
.player .slide { flex: 1; min-width: 0; }
.player .ends { display: flex; justify-content: space-between; gap: 8px; font-size: .85rem; }
.player .ends span { flex: 1; min-width: 0; overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
.player .end-b { text-align: right; }
.player output { font-weight: 600; font-variant-numeric: tabular-nums; }
.player input[type=range] { width: 100%; margin: 6px 0 0; background: transparent; accent-color: var(--color-accent); }
.player :focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.player .scroll { overflow-x: auto; }
.player .inner { min-width: calc(var(--steps) * 36px); }
.player .labels { display: grid; grid-template-columns: repeat(var(--steps), 1fr); font-size: .7rem;
  text-align: center; font-variant-numeric: tabular-nums; color: var(--body-text-color-subdued); }
.player .frame { position: relative; cursor: ew-resize; }
.player .frame img { display: block; width: 100%; height: auto; border-radius: var(--radius-sm); }
.player .playhead { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; pointer-events: none;
  background: #fff; box-shadow: 0 0 0 1px rgb(0 0 0 / .6); }
#interpolate-status .status { min-height: 1.5em; display: flex; gap: 8px; align-items: flex-start; }
@media (max-width: 480px) { #interpolate-status .status { min-height: 2.8em; } }
/* A wrapped line would be taken for the height of a line. */
#interpolate-code .cm-scroller { min-height: 0 !important; }
#interpolate-status progress { flex: none; appearance: none; width: 120px; height: 8px; margin-top: .45em;
  border: none; border-radius: 4px; overflow: hidden; background: var(--border-color-primary); }
#interpolate-status progress::-webkit-progress-bar { background: var(--border-color-primary); }
#interpolate-status progress::-webkit-progress-value { background: var(--color-accent); }
#interpolate-status progress::-moz-progress-bar { background: var(--color-accent); }
/* The How it works tab. Its colours are told apart by shape too, and each has 4.5:1 on its background. */
.how { --prior: #475569; --evidence: #b83a0b; --posterior: #4338ca; line-height: 1.5; }
.dark .how { --prior: #a8b4c6; --evidence: #fdba74; --posterior: #a5b4fc; }
.how [hidden] { display: none !important; }
.how h3 { margin: 0 0 4px; font-size: 1rem; font-weight: 600; }
.how p { margin: 0 0 8px; }
.how .lead { max-width: 104ch; }
.how .split { display: grid; grid-template-columns: minmax(0, 1.12fr) minmax(0, 1fr); gap: 12px 32px;
  align-items: start; }
.how .plane { display: block; width: 100%; height: auto; margin-top: 8px; border: 1px solid var(--border-color-primary);
  border-radius: var(--radius-md); background: var(--background-fill-primary); user-select: none; }
.how .plane text { font-size: .2px; fill: var(--body-text-color-subdued); }
.how .plane text.name { font-size: .24px; font-weight: 600; }
.how .plane .middle { text-anchor: middle; } .how .plane .end { text-anchor: end; }
.how .plane path, .how .plane circle, .how .plane ellipse, .how .plane line { vector-effect: non-scaling-stroke; }
.how .axes path { stroke: var(--body-text-color-subdued); stroke-opacity: .55; fill: none; }
.how .prior circle { fill: none; stroke: var(--prior); stroke-opacity: .6; stroke-dasharray: 5 4; }
.how .prior .fill, .how .posterior .fill { stroke: none; }
.how .prior .fill { fill: url(#how-prior-fill); } .how .posterior .fill { fill: url(#how-posterior-fill); }
.how .prior text { fill: var(--prior); }
.how .prior-stop { stop-color: var(--prior); } .how .posterior-stop { stop-color: var(--posterior); }
.how .posterior ellipse { fill: none; stroke: var(--posterior); stroke-width: 1.5; }
.how .samples circle, .how .key-samples { fill: var(--posterior); fill-opacity: .62; }
.how .pull { stroke: var(--evidence); stroke-dasharray: 2 4; stroke-width: 1.5; }
.how .plane .centre, .how .key-centre { fill: var(--background-fill-primary); stroke: var(--evidence);
  stroke-width: 2; }
.how .mean, .how .key-mean { fill: var(--posterior); stroke: var(--background-fill-primary); stroke-width: 2; }
.how .plane .mean-name { fill: var(--posterior); paint-order: stroke; stroke: var(--background-fill-primary);
  stroke-width: .05px; stroke-linejoin: round; }
.how .mark { cursor: grab; } .how .mark:active { cursor: grabbing; }
.how .mark .hit { fill: transparent; } .how .mark .ring { fill: none; stroke: none; }
.how .mark .halo { stroke: var(--background-fill-primary); stroke-width: 7; stroke-linecap: round; fill: none; }
.how .mark .cross, .how .key-evidence { stroke: var(--evidence); stroke-width: 3.5; stroke-linecap: round; fill: none; }
.how .plane .mark text { fill: var(--evidence); font-weight: 600; pointer-events: none; }
.how .mark:hover .ring { stroke: var(--evidence); stroke-opacity: .5; stroke-width: 2; }
.how .mark:focus-visible { outline: none; }
.how .mark:focus-visible .ring { stroke: var(--color-accent); stroke-opacity: 1; stroke-width: 3; }
.how .legend { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 2px 16px;
  margin: 8px 0 0; padding: 0; list-style: none; font-size: .85rem; }
.how .legend li { display: flex; align-items: center; gap: 8px; margin: 0; }
.how .legend svg { flex: none; width: 20px; height: 20px; }
.how .key-prior { fill: none; stroke: var(--prior); stroke-width: 1.5; stroke-dasharray: 4 3; }
.how .key-posterior { fill: none; stroke: var(--posterior); stroke-width: 1.5; }
.how .buttons { display: flex; flex-wrap: wrap; gap: 8px; margin: 8px 0 12px; }
.how button { min-height: 36px; padding: 4px 12px; border: 1px solid var(--border-color-primary);
  border-radius: var(--radius-md); background: var(--button-secondary-background-fill); color: var(--body-text-color);
  font-size: .85rem; white-space: nowrap; cursor: pointer; }
.how button:hover:not(:disabled) { border-color: var(--color-accent); }
.how button:disabled { opacity: .5; cursor: not-allowed; }
.how :focus-visible { outline: 2px solid var(--color-accent); outline-offset: 1px; }
.how fieldset { margin: 0 0 8px; padding: 0; border: none; font-size: .85rem; }
.how legend { padding: 0; } .how fieldset label, .how .toggle { display: inline-flex; align-items: center; gap: 6px;
  min-height: 28px; margin-right: 16px; font-size: .85rem; cursor: pointer; }
.how .toggle { margin-bottom: 12px; }
.how input[type=radio], .how input[type=checkbox] { appearance: auto; width: 16px; height: 16px;
  accent-color: var(--color-accent); }
.how .facts { display: flex; flex-wrap: wrap; gap: 2px 20px; font-size: .9rem; font-variant-numeric: tabular-nums; }
.how .formulas { padding: 8px 12px; border: 1px solid var(--border-color-primary); border-radius: var(--radius-md);
  background: var(--background-fill-primary); font-variant-numeric: tabular-nums; }
.how .case { margin: 8px 0 0; font-size: .85rem; color: var(--body-text-color-subdued); }
.how .case:first-child { margin-top: 0; }
.how .each .log-slider + .log-slider { margin-top: 8px; }
.how .equation { display: flex; align-items: center; justify-content: space-between; gap: 8px; min-height: 2.5rem;
  padding: 3px 0; overflow-x: auto; overflow-y: hidden; }
.how .equation math { margin: 0; font-size: 1.05rem; }
.how .equation.live { padding-left: 1.7rem; justify-content: flex-start; }
.how .equation.live mn { color: var(--posterior); }
.how .equation span { color: var(--body-text-color-subdued); font-size: .85rem; }
.how table { width: 100%; margin: 12px 0 0; padding: 0; border-collapse: collapse; font-size: .85rem;
  font-variant-numeric: tabular-nums; }
.how caption { text-align: left; font-weight: 600; padding-bottom: 4px; }
.how tr { margin: 0; padding: 0; }
.how th, .how td { margin: 0; padding: 4px 12px 4px 0; text-align: left;
  font-weight: 400; border: none; background: none; }
.how thead th { color: var(--body-text-color-subdued); }
.how .said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.how .words { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 8px 32px;
  margin: 24px 0 16px; }
.how .shell, .how .outside { max-width: 860px; margin-top: 20px; }
.how .field { display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: center; font-size: .9rem; }
.how .field label { min-width: 190px; font-variant-numeric: tabular-nums; }
.how .field input { flex: 1 1 200px; accent-color: var(--color-accent); }
.how .plane .sub { font-size: 70%; }
.how .lengths th { width: 32%; } .how .lengths td:last-child { width: 4.5em; padding-right: 0; text-align: right; }
.how .length { height: 14px; border-radius: 3px; }
.how .prior-length { background: var(--prior); } .how .evidence-length { background: var(--evidence); }
.how .posterior-length { background: var(--posterior); }
.how .note { min-height: 3em; margin-top: 8px; font-weight: 600; }
.how .source { margin-top: 16px; font-size: .85rem; color: var(--body-text-color-subdued); }
@media (prefers-reduced-motion: reduce) { .how [data-do=sweep] { display: none; } }
@media (max-width: 800px) {
  .how .split { grid-template-columns: minmax(0, 1fr); }
  .how .plane text { font-size: .27px; } .how .plane text.name { font-size: .32px; }
  .how .mark .hit { r: .65px; }
  .how .lengths, .how .lengths tbody, .how .lengths caption { display: block; }
  .how .lengths tr { display: grid; grid-template-columns: 1fr 4.5em; align-items: center; }
  .how .lengths th { grid-column: 1 / -1; width: auto; padding-bottom: 0; }
}
@media (max-width: 480px) { .how .equation math { font-size: .74rem; } .how .formulas { padding: 8px; } }
/* Classify: classes at the left, queries and their answers at the right; one below the other on a phone. */
.step h3 { margin: 0; font-size: 1.05rem; }
.examples.tasks { grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
#classify-mnist { align-items: center; }
#classify-examples { padding: 0; }
#classify-lam .band { display: none; } /* the paper's band is for samples */
/* A small drop zone: its label is for screen readers, and Gradio's three lines become one. */
.small-drop > label { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.small-drop [data-testid=upload-text] { font-size: 0; line-height: 0; padding: 0; }
.small-drop [data-testid=upload-text] > * { display: none; }
.small-drop [data-testid=upload-text]::after { content: "+ drop or choose images"; font-size: .8rem;
  line-height: 1.3; color: var(--body-text-color-subdued); }
#classify-classes { display: grid; grid-template-columns: repeat(auto-fit, minmax(162px, 1fr)); gap: 10px; }
.class-slot { min-width: 0 !important; gap: 6px !important; padding: 8px; border: 1px solid var(--border-color-primary);
  border-radius: var(--radius-md); background: var(--background-fill-primary); }
.class-head { flex-wrap: nowrap !important; gap: 4px !important; }
.class-slot .cross { width: 32px; min-width: 32px !important; padding: 0; font-size: 0; }
.class-slot .cross::before { content: "×"; font-size: 1.1rem; }
.class-slot .pile { height: 126px; overflow-y: auto; font-size: .75rem; line-height: 1.35; }
.pile .count, .pile .status { margin: 0 0 4px; }
.pile .thumbs { display: flex; flex-wrap: wrap; gap: 4px; }
.pile .thumb { position: relative; width: 40px; height: 40px; }
.pile .thumb img, .pile .thumb .missing { display: block; width: 40px; height: 40px; border-radius: var(--radius-sm); }
.pile .thumb .missing { background: var(--background-fill-secondary); text-align: center; font-size: 1.2rem;
  line-height: 40px; }
.pile .thumb.problem { outline: 2px solid #c2410c; border-radius: var(--radius-sm); }
.pile .thumb .remove { position: absolute; inset: 0 0 auto auto; width: 24px; height: 24px; border: none; padding: 0;
  line-height: 1; border-radius: 50%; background: rgb(15 23 42 / .78); color: #fff; cursor: pointer; opacity: 0; }
.pile .thumb:hover .remove, .pile .thumb .remove:focus-visible { opacity: 1; }
@media (hover: none) { .pile .thumb .remove { opacity: 1; } }
.pile ul { margin: 4px 0 0; padding: 0; list-style: none; overflow-wrap: anywhere; } .pile ul:empty { display: none; }
.pile .skipped { color: #c2410c; } .dark .pile .skipped { color: #fdba74; }
.pile summary { cursor: pointer; margin-top: 4px; }
.pile :focus-visible { outline: 2px solid var(--color-accent); outline-offset: 1px; }
#classify-progress { position: fixed; left: 50%; bottom: 16px; z-index: 40; width: min(380px, 100vw - 24px);
  transform: translateX(-50%); padding: 10px 14px; border: 1px solid var(--border-color-primary);
  border-radius: var(--radius-lg); background: var(--background-fill-primary); color: var(--body-text-color);
  box-shadow: 0 6px 24px rgb(0 0 0 / .25); font-size: .85rem; font-variant-numeric: tabular-nums; flex-wrap: nowrap; }
#classify-progress p { margin: 0; white-space: nowrap; } #classify-progress button { align-self: center; }
#classify-progress progress { width: 96px; height: 1.1em; vertical-align: middle; accent-color: var(--color-accent); }
#classify-status { min-height: 3.2em; }
#classify-answers { min-height: 320px; }
.queries { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 10px; }
.queries .hint { grid-column: 1 / -1; margin: 0; padding: 24px; color: var(--body-text-color-subdued);
  text-align: center; background: var(--background-fill-secondary); border-radius: var(--radius-md); }
.query .top { display: flex; gap: 10px; } .query .words { min-width: 0; flex: 1; }
.query p { margin: 0; } .card.query img, .card.query .missing { width: 72px; height: 72px; margin: 0; flex: none;
  line-height: 72px; }
.query .name { margin-right: 22px; font-weight: 400; color: var(--body-text-color-subdued); }
.query .answer { font-size: 1rem; font-weight: 650; line-height: 1.25; overflow-wrap: anywhere; }
.card.query.none { border-style: dashed; border-color: #b45309; } .query.none .answer { color: #b45309; }
.dark .query.none .answer { color: #fcd34d; }
.query .truth.right { color: #15803d; } .query .truth.wrong { color: #c2410c; }
.dark .query .truth.right { color: #86efac; } .dark .query .truth.wrong { color: #fdba74; }
.bars { width: 100%; margin: 8px 0 6px; border-collapse: collapse; table-layout: fixed; }
.bars caption { text-align: left; color: var(--body-text-color-subdued); }
.bars, .bars tr { border: none !important; background: none !important; }
.bars th, .bars td { padding: 1px 0; border: none; background: none; line-height: 1.3; }
.bars th { width: 40%; text-align: left; font-weight: 400; overflow: hidden; white-space: nowrap;
  text-overflow: ellipsis; padding-right: 6px; }
.bars td:last-child { width: 3.6em; text-align: right; font-variant-numeric: tabular-nums; }
.bars .bar span, .novelty .gauge span { display: block; height: 8px; min-width: 1px; border-radius: 4px;
  background: var(--neutral-400); }
.bars .best th, .bars .best td { font-weight: 650; } .bars .best .bar span { background: var(--color-accent); }
.query.none .best .bar span { background: var(--neutral-400); }
.novelty { color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
.novelty .gauge { position: relative; margin-top: 3px; border-radius: 4px; background: var(--background-fill-secondary);
  border: 1px solid var(--border-color-primary); }
.novelty .gauge span { background: #b45309; } .novelty .gauge i { position: absolute; top: -3px; bottom: -3px;
  width: 2px; background: var(--body-text-color); }
@media (max-width: 480px) { #classify-classes { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
.means { display: grid; grid-template-columns: repeat(auto-fill, minmax(92px, 1fr)); gap: 12px; }
.means img { width: 100%; height: auto; aspect-ratio: 1; border-radius: var(--radius-md); }
.means figcaption { overflow-wrap: anywhere; }
"""
