"""How an anatomy is turned in its slices, found from a few of them by the posterior of its map."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import optimize

from tfp_bruno.contracts import LocatingModel

# Angles that are compared first, degrees; how many are then compared by the full posterior, and their least distance.
_STEP = 15
_FULL = 5
_APART = 45
# The last search is over angles so near to the best, in at most so many steps, to this accuracy.
_NEAR = 12.0
_STEPS = 6
_ACCURACY = 1.5
# Two turns explain slices nearly equally well if their log-posteriors differ by less, nats.
SIMILAR = 30.0


@dataclasses.dataclass(frozen=True, order=True)
class Turn:
    """A turn of the stack against the axes of a scan that keeps the planes of its slices.

    Attributes:
        reversed: Whether the slices run the other way, as after half a turn about the columns.
        angle: Angle in the plane of the slices, then, in degrees, from columns to rows.
    """

    reversed: bool = False
    angle: float = 0.0

    def matrix(self) -> np.ndarray:
        """Returns the rotation `[3, 3]` of (columns, rows, slices)."""
        cosine, sine = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
        return np.diag([1.0, -1.0, -1.0]) @ rotation if self.reversed else rotation

    def is_near(self, other: 'Turn', degrees: float) -> bool:
        """Returns whether two turns differ by less than an angle."""
        difference = abs((self.angle - other.angle + 180) % 360 - 180)
        return self.reversed == other.reversed and difference < degrees


@dataclasses.dataclass(frozen=True)
class FoundTurn:
    """The turn of the largest posterior.

    Attributes:
        turn: The turn.
        rival: The best turn that differs from it by 45 degrees or more, or by the direction of the slices.
        margin: Log-posterior at the turn less that at the rival, nats.
    """

    turn: Turn
    rival: Turn
    margin: float

    @property
    def is_ambiguous(self) -> bool:
        """Whether the rival explains the slices nearly as well."""
        return self.margin < SIMILAR


def find_turn(
    model: LocatingModel,
    contexts: Callable[[Turn], tuple[np.ndarray, np.ndarray] | None],
    reversible: bool,
    prefers_unturned: bool,
) -> FoundTurn:
    """Finds the turn under which slices meet the canonical volume best.

    Size and place alone are tried at every 15 degrees; the best of them are compared by the posterior of the whole map,
    which is then maximised over the angle.

    Args:
        model: A model with a canonical volume.
        contexts: Returns the slices `[n, H, W]` of a turned stack and their positions `[n]`; `None` if one lies outside
            of it.
        reversible: Whether the slices may run the other way.
        prefers_unturned: Whether another turn must explain the slices clearly better than none.
    """
    known: dict[Turn, float] = {}

    def value(turn: Turn, coarse: bool) -> float:
        slices = contexts(turn)
        return -np.inf if slices is None else model.log_posterior(*slices, coarse=coarse)

    def score(turn: Turn) -> float:
        if turn not in known:
            known[turn] = value(turn, coarse=False)
        return known[turn]

    directions = (False, True) if reversible else (False,)
    turns = [Turn(direction, float(angle)) for direction in directions for angle in range(0, 360, _STEP)]
    coarse = {turn: value(turn, coarse=True) for turn in turns}
    compared = list(_apart(sorted(turns, key=lambda turn: -coarse[turn])))[:_FULL]
    unturned = next((turn for turn in compared if turn.is_near(Turn(), _APART)), Turn())
    if prefers_unturned and unturned not in compared:
        compared.append(unturned)
    best = max(compared, key=score)
    if prefers_unturned and score(best) < score(unturned) + SIMILAR:
        best = unturned
    rival = max((turn for turn in compared if turn != best), key=score)
    limits = (best.angle - _NEAR, best.angle + _NEAR)
    optimize.minimize_scalar(
        lambda angle: -score(Turn(best.reversed, float(angle))),
        bounds=limits,
        method='bounded',
        options={'xatol': _ACCURACY, 'maxiter': _STEPS},
    )
    refined = max((turn for turn in known if turn.is_near(best, _NEAR + 1)), key=score)
    found = dataclasses.replace(refined, angle=(refined.angle + 180) % 360 - 180)
    return FoundTurn(found, rival, score(refined) - score(rival))


def _apart(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Yields turns that are not near to one before them."""
    kept: list[Turn] = []
    for turn in turns:
        if not any(turn.is_near(other, _APART) for other in kept):
            kept.append(turn)
            yield turn
