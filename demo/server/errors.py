"""Errors as users may read them: no path of this machine, no markup, and no traceback of a refusal."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import gradio as gr

from transflow_core.runtime.worker import Cancelled

from .files import AGE

_log = logging.getLogger(__name__)
# The folders of an absolute path. An address such as hf://owner/file has none, and neither has and/or.
_FOLDERS = re.compile(r"(?<![\w:/.~])(?:/[^\s/'\":,][^/'\":,\n]*)+/(?=[^\s/])")
# The system's messages about faults of the host are of no use to a visitor.
_FAULTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "The disk of this server is full. Try again in a few minutes."),
    **dict.fromkeys(
        (errno.EROFS, errno.EACCES, errno.EPERM), "This server cannot write to its disk, so it cannot make the file."
    ),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "The server is too busy. Please try again in a few minutes."),
    errno.EIO: "The disk of this server does not answer. Try again in a few minutes.",
    errno.ENOENT: f"This file has expired: files are kept for {AGE / 60:g} minutes. Add it again.",
}
_NO_MEMORY = "The server has not enough free memory for this. Request less, or try again in a few minutes."
_UNKNOWN = "Something went wrong, and the error was logged. Your images are safe. Please try again."


@contextmanager
def refusing(markup: bool = True) -> Iterator[None]:
    """A refusal within becomes a message: ValueError and OSError with their own text. Any other error is logged.

    A MemoryError becomes a message of its own, because only the host can add memory. Cancelled passes, because nobody
    waits for the message.

    Args:
        markup: whether the message is shown as HTML, as the page does.
    """
    try:
        yield
    except (Cancelled, gr.Error):
        raise
    except (ValueError, OSError, MemoryError) as error:
        message = message_of(error)
        if markup and message.partition(" ")[0].isalpha():  # a sentence, and no file's name
            message = message[0].upper() + message[1:]
        raise gr.Error(escape(message, quote=False) if markup else message, print_exception=False) from error
    except Exception as error:
        _log.exception("an event of the page failed")
        raise gr.Error(_UNKNOWN, print_exception=False) from error


def message_of(error: BaseException) -> str:
    """An error's message, without the folders in it."""
    # The system's own messages name a path of this machine; those of `load_prior` have no number.
    message = str(error)
    if isinstance(error, OSError) and error.errno is not None:
        message = _FAULTS.get(error.errno, error.strerror)
    if isinstance(error, MemoryError):
        message = _NO_MEMORY
    return _FOLDERS.sub("", message or type(error).__name__)


def report(message: str) -> None:
    """Show a message for a few seconds. It may hold text of a user."""
    gr.Info(escape(message, quote=False))


def warn(message: str) -> None:
    """Show that a part of a request was not done. The message may hold text of a user."""
    gr.Warning(escape(message, quote=False))
