"""Colours, type and the few rules that Gradio's theme does not cover. No font is fetched: the page works offline."""

import gradio as gr

from .static import static

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
"""
CSS += "".join(static(f"{tab}.css") for tab in ("interpolate", "explain", "classify"))
