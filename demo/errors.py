"""Errors as strangers may read them: no path of this machine, no markup, and no traceback for what is not ours."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import gradio as gr

from transflow_core.worker import Cancelled

__all__ = ["refusing", "tell", "warn", "words_of"]

_log = logging.getLogger(__name__)
# The folders of an absolute path. An address such as hf://owner/file has none, and neither has and/or.
_FOLDERS = re.compile(r"(?<![\w:/.~])(?:/[^\s/'\":,][^/'\":,\n]*)+/(?=[^\s/])")
# The system's words for what the host must mend are no words for a visitor.
_FAULTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "The disk of this server is full. Try again in a while."),
    **dict.fromkeys(
        (errno.EROFS, errno.EACCES, errno.EPERM), "This server may not write to its disk, so that no file can be made."
    ),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Too much is open on this server. Try again in a while."),
    errno.EIO: "The disk of this server does not answer. Try again in a while.",
    errno.ENOENT: "A file is no longer there: files are kept for an hour. Give it again.",
}
_NO_MEMORY = "This server has not enough free memory for that just now. Ask for less, or try again in a while."
_UNKNOWN = "Something went wrong in the program, and it was written down. Nothing that you gave is lost: try again."


@contextmanager
def refusing(markup: bool = True) -> Iterator[None]:
    """What is refused within becomes a message: ValueError and OSError in their own words, anything else is logged.

    Memory that the host does not have is the host's to mend, and is told as such.

    Cancelled passes: whoever gave the work up need not be told.

    Args:
        markup: whether the message is shown as HTML, as the page does.
    """
    try:
        yield
    except (Cancelled, gr.Error):
        raise
    except (ValueError, OSError, MemoryError) as error:
        words = words_of(error)
        if markup and words.partition(" ")[0].isalpha():  # a sentence, and no file's name
            words = words[0].upper() + words[1:]
        raise gr.Error(escape(words, quote=False) if markup else words, print_exception=False) from error
    except Exception as error:
        _log.exception("an event of the page failed")
        raise gr.Error(_UNKNOWN, print_exception=False) from error


def words_of(error: BaseException) -> str:
    """An error's words, without the folders that they name."""
    # The system's own words name a path of this machine; those of `load_prior` have no number.
    words = str(error)
    if isinstance(error, OSError) and error.errno is not None:
        words = _FAULTS.get(error.errno, error.strerror)
    if isinstance(error, MemoryError):
        words = _NO_MEMORY
    return _FOLDERS.sub("", words or type(error).__name__)


def tell(words: str) -> None:
    """Say something in passing; it may hold what a stranger wrote."""
    gr.Info(escape(words, quote=False))


def warn(words: str) -> None:
    """Say that something was not done as it was asked; it may hold what a stranger wrote."""
    gr.Warning(escape(words, quote=False))
