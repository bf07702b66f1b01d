"""Installs tfp_bruno: completing medical volumes from a few slices with TensorFlow Probability."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).resolve().parent
VERSION = re.search(r"__version__ = '([^']+)'", (HERE / 'tfp_bruno' / 'version.py').read_text()).group(1)

TESTS = [
    'SimpleITK>=2.3',
    'hypothesis>=6.100',
    'import-linter>=2.3',
    'ipykernel>=6.29',
    'mypy>=1.18',
    'nbclient>=0.10',
    'nbformat>=5.10',
    'pytest>=8.0',
    'pytest-cov>=6.0',
    'pytest-xdist>=3.5',
    'ruff>=0.12,<0.18',
]
NOTEBOOKS = ['ipykernel>=6.29', 'jupyterlab>=4.2', 'nbclient>=0.10', 'nbformat>=5.10']

setup(
    name='tfp_bruno',
    version=VERSION,
    description='Complete medical volumes from a few slices: an exact conditional flow on TensorFlow Probability.',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['tfp_bruno', 'tfp_bruno.*']),
    package_data={
        'tfp_bruno': ['py.typed'],
        'tfp_bruno.data': ['datasets/*.toml'],
        'tfp_bruno.training': ['presets/*/*.toml'],
        'tfp_bruno.reconstruction': ['templates/*.jinja'],
    },
    python_requires='>=3.10,<3.14',
    install_requires=[
        'Jinja2>=3.1',
        'absl-py>=2.1',
        'annotated-types>=0.6',
        'filelock>=3.12',
        'joblib>=1.3',
        'matplotlib>=3.8',
        'nibabel>=5.2',
        'numpy>=1.26',
        'pydantic>=2.10,<3',
        'safetensors>=0.4',
        'scikit-image>=0.24',
        'scikit-learn>=1.4',
        'scipy>=1.12',
        'scoringrules>=0.8,<1',
        # TFP 0.25 imports distutils, which Python 3.12 dropped and setuptools still offers.
        'setuptools>=68; python_version >= "3.12"',
        'tensorboard>=2.20',
        'tensorflow>=2.21,<2.22',
        'tensorflow-probability>=0.25,<0.26',
        'tf_keras>=2.21,<2.22',
        'threadpoolctl>=3.1',
        'tomli>=2.0; python_version < "3.11"',
        'tqdm>=4.66',
    ],
    extras_require={
        'gpu': ['tensorflow[and-cuda]>=2.21,<2.22'],
        'notebooks': NOTEBOOKS,
        'tests': TESTS,
    },
    entry_points={
        'console_scripts': [
            'bruno-atlas = tfp_bruno.cli.atlas:run',
            'bruno-evaluate = tfp_bruno.cli.evaluate:run',
            'bruno-export = tfp_bruno.cli.export:run',
            'bruno-phantom = tfp_bruno.cli.phantom:run',
            'bruno-reconstruct = tfp_bruno.cli.reconstruct:run',
            'bruno-simulate = tfp_bruno.cli.simulate:run',
            'bruno-train = tfp_bruno.cli.train:run',
        ],
    },
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Medical Science Apps.',
    ],
)
