"""Intensities in [0, 1] as points within 256 grey levels, where the flow's density lives."""

__all__ = ['LEVELS', 'from_level_middle', 'to_level_middle']

LEVELS = 256


def to_level_middle(images):
    """Moves intensities in [0, 1] to `(0, 1)`: 0 to the middle of the first grey level, 1 to that of the last."""
    return (images * (LEVELS - 1) + 0.5) / LEVELS


def from_level_middle(images):
    """Undoes `to_level_middle`; what a flow decodes may lie a little outside [0, 1]."""
    return (images * LEVELS - 0.5) / (LEVELS - 1)
