"""Registration of subjects to one canonical volume, and of a new subject from a few of its slices, in NumPy."""

from tfp_bruno.registration.appearance_fields import AppearanceFields
from tfp_bruno.registration.canonical_model import CanonicalModel, interpolation
from tfp_bruno.registration.frames import Frame, mean_frame
from tfp_bruno.registration.groupwise import Registration, make_space, register_subjects
from tfp_bruno.registration.location import Location
from tfp_bruno.registration.location_checks import check_location
from tfp_bruno.registration.map_finder import MapFinder, find_maps, find_misfits
from tfp_bruno.registration.map_prior import MapPrior
from tfp_bruno.registration.map_search import FoundMap, MapSearch
from tfp_bruno.registration.quality import OUTLIER_Z, RegistrationQuality
from tfp_bruno.registration.smooth_basis import SmoothBasis
from tfp_bruno.registration.subject_map import CanonicalSpace, SubjectMap

__all__ = [
    'OUTLIER_Z',
    'AppearanceFields',
    'CanonicalModel',
    'CanonicalSpace',
    'FoundMap',
    'Frame',
    'Location',
    'MapFinder',
    'MapPrior',
    'MapSearch',
    'Registration',
    'RegistrationQuality',
    'SmoothBasis',
    'SubjectMap',
    'check_location',
    'find_maps',
    'find_misfits',
    'interpolation',
    'make_space',
    'mean_frame',
    'register_subjects',
]
