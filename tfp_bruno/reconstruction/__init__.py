"""Completion of a volume from a few slices, written in the world space of the scan."""

from tfp_bruno.reconstruction.completion import Completion, complete
from tfp_bruno.reconstruction.contexts import Contexts, contexts_of_scan, no_contexts
from tfp_bruno.reconstruction.output_folder import check_output_dir
from tfp_bruno.reconstruction.output_grid import OutputGrid, isotropic_grid, to_grid
from tfp_bruno.reconstruction.placing import Placing, place_contexts
from tfp_bruno.reconstruction.positions import (
    SliceSelection,
    check_positions,
    scan_slices_to_positions,
    world_to_positions,
)
from tfp_bruno.reconstruction.slice_folder import contexts_of_slices, read_slice_folder
from tfp_bruno.reconstruction.subject import ReconstructionSettings, reconstruct
from tfp_bruno.reconstruction.volume_files import OutputSettings

__all__ = [
    'Completion',
    'Contexts',
    'OutputGrid',
    'OutputSettings',
    'Placing',
    'ReconstructionSettings',
    'SliceSelection',
    'check_output_dir',
    'check_positions',
    'complete',
    'contexts_of_scan',
    'contexts_of_slices',
    'isotropic_grid',
    'no_contexts',
    'place_contexts',
    'read_slice_folder',
    'reconstruct',
    'scan_slices_to_positions',
    'to_grid',
    'world_to_positions',
]
