"""Entry of the Hugging Face Space, and of `python app.py`: build the demo and serve it."""

from pathlib import Path

from demo import CSS, SERVER, THEME, Engines, build

# A prior that is put into `priors/` (see `python -m transflow_core convert`) is offered on the page.
demo = build(Engines(Path(__file__).parent / "priors"))

if __name__ == "__main__":
    demo.queue(max_size=None, api_open=False).launch(
        theme=THEME, css=CSS, show_error=True, max_file_size="64mb", footer_links=["api", "settings"], **SERVER
    )
