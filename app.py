"""Entry of the Hugging Face Space, and of `python app.py`: build the demo and serve it."""

from demo import CSS, THEME, build

demo = build()

if __name__ == "__main__":
    demo.queue(default_concurrency_limit=4, max_size=64).launch(
        theme=THEME, css=CSS, show_error=True, max_file_size="64mb", footer_links=["api", "settings"]
    )
