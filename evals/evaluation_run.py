"""An evaluation's folder: graded questions as they come, so that a stopped run can resume."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evals.evaluation import Graded

_META, _ROWS = "run.json", "questions.jsonl"


class RunInvalid(ValueError):
    """A folder holds no such evaluation; the message says what to do."""


class EvaluationRun:
    """A folder with `run.json` (endpoint, data set, protocol) and `questions.jsonl` (grades)."""

    def __init__(self, folder: Path, meta: Mapping[str, Any], graded: dict[str, Graded]) -> None:
        self.folder, self.meta, self.graded = folder, meta, graded

    @classmethod
    def begin(cls, folder: Path, meta: Mapping[str, Any]) -> EvaluationRun:
        """Start, or resume what is there. Raises RunInvalid if that is another evaluation."""
        if (folder / _META).is_file():
            run = cls.read(folder)
            for name in {**run.meta, **meta}:
                if run.meta.get(name) != meta.get(name):
                    raise RunInvalid(
                        f"{folder} holds an evaluation with {name} {run.meta.get(name)!r}, not "
                        f"{meta.get(name)!r}: choose another --out"
                    )
            return run
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _META).write_text(json.dumps(meta, indent=2) + "\n")
        return cls(folder, meta, {})

    @classmethod
    def read(cls, folder: Path) -> EvaluationRun:
        """What a folder holds. Raises RunInvalid."""
        try:
            meta = json.loads((folder / _META).read_text())
            lines = (folder / _ROWS).read_text().splitlines() if (folder / _ROWS).is_file() else []
        except (OSError, ValueError):
            raise RunInvalid(f"{folder} holds no evaluation") from None
        graded: dict[str, Graded] = {}
        for number, line in enumerate(lines, 1):
            try:
                one = Graded(**json.loads(line))
            except (ValueError, TypeError):
                if number < len(lines):
                    raise RunInvalid(f"{folder / _ROWS}: line {number} cannot be read") from None
                break  # truncated while written: the question is asked again
            graded[one.id] = one
        return cls(folder, meta, graded)

    def writer(self) -> RowWriter:
        """Appends to the folder, after dropping a truncated last line."""
        return RowWriter(self)

    def ordered(self, ids: Sequence[str]) -> list[Graded]:
        """What was graded, in the order of `ids`."""
        return [self.graded[key] for key in ids if key in self.graded]


class RowWriter:
    """A context manager; `keep` writes a line and flushes it."""

    def __init__(self, run: EvaluationRun) -> None:
        self._run = run

    def __enter__(self) -> RowWriter:
        file = self._run.folder / _ROWS
        whole = "".join(json.dumps(asdict(one)) + "\n" for one in self._run.graded.values())
        file.write_text(whole)
        self._file = file.open("a")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def keep(self, graded: Graded) -> None:
        """Append one question."""
        self._run.graded[graded.id] = graded
        self._file.write(json.dumps(asdict(graded)) + "\n")
        self._file.flush()
