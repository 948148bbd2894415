"""What the user's own code raised, told by the place in that code."""

from __future__ import annotations

import os
import sysconfig
import traceback
from pathlib import Path

from pai_train.errors import PaiTrainError
from pai_train.storage import display

_OURS = str(Path(__file__).resolve().parents[1])
_LIBRARIES = (
    *(os.path.join(folder, "") for folder in (_OURS, *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))),
    "<",
)


def user_error(error: Exception, what: str) -> PaiTrainError:
    """Returns an error that names what was raised and the innermost line of the user's own code it came through."""
    place = None
    if isinstance(error, SyntaxError) and error.filename is not None:
        place = (error.filename, error.lineno)
    else:
        own = [
            frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_LIBRARIES)
        ]
        place = (own[-1].filename, own[-1].lineno) if own else None
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    return PaiTrainError(
        f"{what}: {type(error).__name__}{f': {reason}' if reason else ''}",
        where=f"{display(f'file://{place[0]}')}:{place[1]}" if place else None,
        todo="correct the code there; the log of a run holds the whole traceback",
    )
