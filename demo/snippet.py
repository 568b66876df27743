"""How the code that the page shows names the evidence."""

from pathlib import Path

from transflow_core.intake import Intake

from .examples import EXAMPLES

__all__ = ["evidence_paths", "is_plain"]


def evidence_paths(intake: Intake) -> list[str] | None:
    """The evidence's files as a person has them; None when there are none, or two that a name does not tell apart."""
    if intake.example:
        return [(EXAMPLES / intake.example).relative_to(EXAMPLES.parent.parent).as_posix()]
    # A picture of the camera has a name without a suffix, and is no file of theirs.
    names = [Path(source).name for source in intake.sources if isinstance(source, str | Path) and Path(source).suffix]
    return names if intake.saved is None and len(set(names)) == len(intake.sources) else None


def is_plain(intake: Intake) -> bool:
    """Whether every image counts once, as its largest face, and none was spared by hand."""
    return all(
        image.weight == 1 and image.robust and (image.face is None or image.face is image.picture.faces[0])
        for image in intake.evidence
    )
