"""What happened during training: one JSON object a line, each step once.

A run that was killed had logged steps that it will take again. They are dropped when it
continues, with a last line that was only half written.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["Log"]


class Log:
    """The log of one stage.

    Arguments:
        path: The file; it need not exist.

    Example:
        >>> log = Log(Path("no-such-log.jsonl"))
        >>> log.trim(0), log.path.exists()
        (0.0, False)
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, **entry: str | float) -> None:
        """Add a line; it holds at least `step` and `seconds`."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def trim(self, step: int) -> float:
        """Drop what was logged after a step, and what cannot be read.

        Arguments:
            step: The last step to keep.

        Returns:
            The seconds that training had taken until then.
        """
        if not self.path.is_file():
            return 0.0
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [entry for entry in map(_parse, lines) if entry and entry["step"] <= step]
        partial = self.path.with_suffix(".partial")
        partial.write_text("".join(json.dumps(entry) + "\n" for entry in kept), encoding="utf-8")
        partial.replace(self.path)
        return kept[-1]["seconds"] if kept else 0.0


def _parse(line: str) -> dict[str, float] | None:
    try:
        entry = json.loads(line)
        numbers = isinstance(entry["step"], int), isinstance(entry["seconds"], (int, float))
    except (ValueError, KeyError, TypeError):
        return None
    return entry if all(numbers) else None
