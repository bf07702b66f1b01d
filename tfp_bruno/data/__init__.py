"""Volumes in and out: datasets, NIfTI files, stacks of slices, folders of subjects, splits, populations."""

from tfp_bruno.data.cache import default_cache_dir
from tfp_bruno.data.definitions import DEFINITIONS, DatasetDefinition, get_definition, read_definition
from tfp_bruno.data.frame import FOREGROUND_THRESHOLD, Box, BoxRange, TrainingFrame
from tfp_bruno.data.nifti import Volume, read_mask, read_volume, write_volume
from tfp_bruno.data.participants import read_split, write_split
from tfp_bruno.data.population import Population, load_population
from tfp_bruno.data.split import Shard, apply_split, split_subjects
from tfp_bruno.data.stack import Slicer, Stack, extract_stack, stack_affine
from tfp_bruno.data.subjects import Subject, check_folder, find_subjects

__all__ = [
    'DEFINITIONS',
    'FOREGROUND_THRESHOLD',
    'Box',
    'BoxRange',
    'DatasetDefinition',
    'Population',
    'Shard',
    'Slicer',
    'Stack',
    'Subject',
    'TrainingFrame',
    'Volume',
    'apply_split',
    'check_folder',
    'default_cache_dir',
    'extract_stack',
    'find_subjects',
    'get_definition',
    'load_population',
    'read_definition',
    'read_mask',
    'read_split',
    'read_volume',
    'split_subjects',
    'stack_affine',
    'write_split',
    'write_volume',
]
