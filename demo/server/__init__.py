"""The server around Gradio's: the API, events, visitors, models, who waits, files and errors."""
