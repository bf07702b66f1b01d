"""Completing a volume from a few slices of a scan, and writing it in the world space of the scan."""

from tfp_bruno.volumes.completion import Completion, complete
from tfp_bruno.volumes.output_folder import check_output_dir
from tfp_bruno.volumes.output_grid import OutputGrid, isotropic_grid, to_grid
from tfp_bruno.volumes.positions import check_positions, scan_slices_to_positions
from tfp_bruno.volumes.reconstruction import ReconstructionSettings, reconstruct

__all__ = [
    'Completion',
    'OutputGrid',
    'ReconstructionSettings',
    'check_output_dir',
    'check_positions',
    'complete',
    'isotropic_grid',
    'reconstruct',
    'scan_slices_to_positions',
    'to_grid',
]
