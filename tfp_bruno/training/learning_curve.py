"""The learning curve of a training on disk."""

import json
import math
import pathlib
from collections.abc import Mapping

from tfp_bruno.data.atomic import write_text


class LearningCurve:
    """The points of a training, one line of JSON each."""

    def __init__(self, path: pathlib.Path) -> None:
        """Takes the path of the file, which need not exist."""
        self._path = path

    def points(self) -> list[dict[str, float]]:
        """Returns all points; a line that was cut short counts as the end."""
        found = []
        lines = self._path.read_text(encoding='utf-8').splitlines() if self._path.exists() else []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        return found

    def last_step(self) -> int:
        """Returns the step of the last point; 0 without one."""
        points = self.points()
        return int(points[-1]['step']) if points else 0

    def is_least(self, point: Mapping[str, float], name: str) -> bool:
        """Returns whether a value of a new point is below that of all others; True if a point lacks it."""
        values = [other.get(name, math.inf) for other in self.points()]
        return name not in point or point[name] < min(values, default=math.inf)

    def best_step(self, name: str) -> int | None:
        """Returns the step of the least value; `None` if no point has it."""
        found = [(point[name], int(point['step'])) for point in self.points() if name in point]
        return min(found)[1] if found else None

    def append(self, point: dict[str, float]) -> None:
        """Adds a point."""
        self._write([*self.points(), point])

    def cut(self, step: int) -> None:
        """Removes the points after a step: a resumed training makes them again."""
        points = self.points()
        kept = [point for point in points if point['step'] <= step]
        if len(kept) < len(points):
            self._write(kept)

    def _write(self, points: list[dict[str, float]]) -> None:
        write_text(self._path, ''.join(json.dumps(point) + '\n' for point in points))
