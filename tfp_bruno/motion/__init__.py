"""Slices of a moving anatomy: simulated stacks, their average, and registration of slices to a volume."""

from tfp_bruno.motion.artefacts import ArtefactSettings
from tfp_bruno.motion.average import gaussian_average
from tfp_bruno.motion.cycles import Cycle, average_cycle, run_cycles
from tfp_bruno.motion.interchange import (
    read_dof,
    read_motion_table,
    write_dof,
    write_itk_transform,
    write_motion_table,
    write_slices,
)
from tfp_bruno.motion.protocol import StackProtocol
from tfp_bruno.motion.simulation import SimulatedStacks, simulate_stacks
from tfp_bruno.motion.simulation_folder import write_simulation
from tfp_bruno.motion.slice_errors import SliceErrors, common_offset, slice_errors
from tfp_bruno.motion.slices import SliceStack, identity_transforms, moved_affines
from tfp_bruno.motion.stack_files import check_overlap, read_stack, warn_of_strangers
from tfp_bruno.motion.stack_registration import (
    Level,
    Registered,
    RegistrationSettings,
    register_stacks,
    usable_slices,
)
from tfp_bruno.motion.trajectory import MotionSettings

__all__ = [
    'ArtefactSettings',
    'Cycle',
    'Level',
    'MotionSettings',
    'Registered',
    'RegistrationSettings',
    'SimulatedStacks',
    'SliceErrors',
    'SliceStack',
    'StackProtocol',
    'average_cycle',
    'check_overlap',
    'common_offset',
    'gaussian_average',
    'identity_transforms',
    'moved_affines',
    'read_dof',
    'read_motion_table',
    'read_stack',
    'register_stacks',
    'run_cycles',
    'simulate_stacks',
    'slice_errors',
    'usable_slices',
    'warn_of_strangers',
    'write_dof',
    'write_itk_transform',
    'write_motion_table',
    'write_simulation',
    'write_slices',
]
