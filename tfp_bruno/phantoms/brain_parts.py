"""Positions of the parts of the brain: reference coordinates, millimetres of a fetus of 30 weeks, RAS, midline x = 0.

Paired parts are given for x > 0. A tube is a list of nodes (x, y, z, radius). The positions were chosen by eye on
axial, coronal and sagittal views of the fetal brain.
"""

from typing import TypeAlias

Vector: TypeAlias = tuple[float, float, float]
# Centre, semi-axes, tilt about x in radians.
Ellipsoid: TypeAlias = tuple[Vector, Vector, float]
# Centre, normal of the sheet, extent, depth factor, week at which it appears.
Sulcus: TypeAlias = tuple[Vector, Vector, float, float, float]

# Lobes of the right hemisphere with their fluid.
PARIETAL = ((12.0, -4.0, 6.0), (27.0, 39.0, 28.5), 0.0)
FRONTAL = ((13.0, 22.0, 0.0), (20.0, 26.0, 21.5), 0.0)
OCCIPITAL = ((15.0, -21.0, -5.0), (19.0, 24.5, 19.0), 0.0)
MIDLINE = ((0.0, 1.0, 4.0), (20.0, 43.5, 27.0), 0.0)
SELLA = ((0.0, 17.0, -31.0), (12.0, 17.0, 9.5), 0.0)
TEMPORAL = ((23.5, 0.0, -13.0), (14.5, 25.0, 14.0), -0.30)
# Where the hemispheres grow together: no cortex on the midline.
CORE = ((0.0, 3.0, -1.0), (24.0, 21.5, 13.0), 0.08)
SUPRASELLAR_CISTERN = ((0.0, 10.0, -18.5), (7.5, 9.0, 6.5), 0.0)
CEREBELLUM = ((9.0, -18.5, -23.5), (12.5, 12.5, 10.5), 0.15)
VERMIS = ((0.0, -19.0, -21.5), (7.0, 11.0, 11.5), 0.15)
PONS = ((0.0, -1.5, -21.5), (9.0, 7.0, 8.5), -0.25)
PEDUNCLE = ((8.0, 3.0, -8.0, 4.4), (6.0, 2.0, -13.0, 4.4), (3.0, 0.0, -20.0, 5.0))
STEM = (
    (0.0, -4.5, -6.0, 7.5),
    (0.0, -6.5, -13.0, 6.5),
    (0.0, -6.0, -22.0, 6.5),
    (0.0, -10.0, -36.0, 5.0),
    (0.0, -13.5, -47.0, 4.0),
)
FOURTH_VENTRICLE = ((0.0, -10.0, -22.5), (3.2, 2.4, 5.0), -0.25)
AQUEDUCT = ((0.0, -9.0, -20.0, 1.0), (0.0, -9.0, -10.0, 0.8), (0.0, -8.0, -5.0, 1.0))
# In coordinates sheared so that the horns are flat and rise to the side: (x / 2, y, z - 0.35 x).
FRONTAL_HORN = (
    (3.6, 25.0, -4.5, 1.0),
    (3.0, 19.0, 1.5, 1.6),
    (3.6, 8.0, 5.5, 1.6),
    (5.0, -4.0, 6.0, 1.8),
    (7.0, -12.0, -0.5, 2.4),
)
OCCIPITAL_HORN = ((13.5, -12.0, 4.0, 3.2), (17.0, -16.0, -4.0, 3.8), (18.0, -23.0, -7.0, 3.0), (16.0, -33.0, -7.0, 1.4))
TEMPORAL_HORN = ((17.0, -14.0, -4.0, 3.2), (22.0, -7.0, -11.0, 2.0), (23.0, 0.0, -14.5, 2.0), (20.0, 6.0, -15.0, 1.8))
CAVUM = ((0.0, 20.0, 0.0, 3.2), (0.0, 10.0, 5.5, 2.6), (0.0, -4.0, 6.5, 2.2), (0.0, -12.0, 3.5, 2.0))
THIRD_VENTRICLE = ((0.0, -1.5, -5.0), (1.2, 10.0, 8.0), 0.0)
THALAMUS = ((8.2, -4.0, -1.5), (7.0, 10.0, 7.5), 0.1)
LENTIFORM = ((17.0, 6.0, -1.0), (5.5, 12.5, 7.5), 0.0)
CAUDATE = ((9.5, 16.0, 3.5), (3.2, 7.5, 6.0), -0.35)
HIPPOCAMPUS = ((17.0, -5.0, -13.5), (3.6, 10.0, 3.2), -0.25)
CALLOSUM = (
    (0.0, 22.5, -5.0, 1.6),
    (0.0, 24.0, 1.5, 2.0),
    (0.0, 18.0, 7.5, 1.5),
    (0.0, 6.0, 11.0, 1.4),
    (0.0, -8.0, 10.0, 1.5),
    (0.0, -17.0, 5.0, 2.2),
)
# Sulci that every brain has.
PRIMARY_SULCI: tuple[Sulcus, ...] = (
    ((2.0, -29.0, 9.0), (0.0, 0.5, 0.87), 15.0, 1.5, 21.0),  # parieto-occipital
    ((2.0, -34.0, -4.0), (0.0, -0.15, 1.0), 14.0, 1.6, 22.0),  # calcarine
    ((2.0, 15.0, 16.5), (0.1, 0.38, 0.92), 15.0, 0.9, 24.0),  # cingulate, anterior
    ((2.0, -9.0, 18.5), (0.1, -0.25, 0.96), 14.0, 0.9, 25.0),  # cingulate, posterior
    ((27.0, -2.0, 24.0), (0.35, 0.94, 0.0), 22.0, 1.2, 25.0),  # central
    ((38.0, -6.0, -9.0), (0.0, 0.35, 0.94), 22.0, 1.1, 25.0),  # superior temporal
    ((25.0, 15.0, 20.0), (0.35, 0.94, 0.0), 15.0, 1.0, 27.0),  # precentral
    ((26.0, -17.0, 22.0), (0.30, 0.95, 0.0), 17.0, 1.0, 27.0),  # postcentral
    ((15.0, 30.0, 17.0), (1.0, 0.2, 0.0), 17.0, 1.0, 27.0),  # superior frontal
    ((26.0, 30.0, 4.0), (0.3, -0.4, 0.87), 15.0, 0.9, 28.0),  # inferior frontal
    ((10.0, 34.0, -19.0), (1.0, 0.0, 0.0), 14.0, 0.7, 28.0),  # olfactory
    ((27.0, -12.0, -24.0), (0.9, 0.2, 0.3), 20.0, 0.8, 27.0),  # occipito-temporal
)
SYLVIAN_PIT = ((36.0, 10.0, -3.0), (9.0, 14.0, 5.5), -0.35)
# The ellipsoid around each hemisphere on which the fold patterns are evaluated.
FOLD_CENTRE, FOLD_RADII = (11.0, -1.0, 1.0), (25.0, 42.0, 28.0)
