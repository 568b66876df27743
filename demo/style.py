"""Colours, type and the few rules that Gradio's theme does not cover. No font is fetched: the page works offline."""

from gradio import themes

from .static import static

_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

THEME = themes.Default(
    primary_hue=themes.colors.indigo,
    secondary_hue=themes.colors.indigo,
    neutral_hue=themes.colors.slate,
    font=_SANS,
    font_mono=_MONO,
    radius_size=themes.sizes.radius_lg,
).set(
    # The theme's grey for secondary text has a contrast of 2.6 on white; AA asks for 4.5.
    body_text_color_subdued="*neutral_600",
    block_label_text_color="*neutral_700",
    block_title_text_color="*neutral_700",
    body_text_color_subdued_dark="*neutral_300",
    # Its accent has one of 4.46 against white, its red one of 3.76.
    color_accent="*primary_600",
    button_cancel_background_fill="#b91c1c",
    button_cancel_background_fill_hover="#991b1b",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
)

CSS = static("page.css")
