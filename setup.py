# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
"""Packaging: one top-level name, `lidal3d`; datasets/ and configs/ travel inside it."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="lidal3d",
    version="0.1.0",
    description="Active learning on drive logs: what is worth labelling, why, and in the format a labelling tool reads",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    # A bare find_packages() would install a top-level `datasets`, which shadows Hugging Face's.
    packages=[*find_packages(include=["lidal3d", "lidal3d.*"]), "lidal3d.datasets", "lidal3d.configs"],
    package_dir={"lidal3d.datasets": "datasets", "lidal3d.configs": "configs"},
    package_data={"lidal3d": ["py.typed", "report/*.html", "report/*.css"], "lidal3d.datasets": ["*.yaml"],
                  "lidal3d.configs": ["*.yaml", "**/*.yaml"]},
    install_requires=[
        "numpy>=1.26,<3",
        "numba>=0.60",
        "scipy>=1.11",
        "pyarrow>=15",
        "pydantic>=2.6",
        "pyyaml>=6",
        "typer>=0.12",
        "rich>=13",
        "pillow>=10",
        "torch>=2.4",
        "safetensors>=0.4",
        "lightning-fabric>=2.4",
        "open3d-cpu>=0.18; sys_platform == 'linux' and platform_machine == 'x86_64'",
        "open3d>=0.18; sys_platform != 'linux' or platform_machine != 'x86_64'",
        "nuscenes-devkit>=1.1.11",
        "pyquaternion>=0.9.9",
        "pandas>=2",
    ],
    extras_require={
        "spconv": ["spconv==2.3.8", "cumm>=0.7.11,<0.8"],
        "tensorboard": ["tensorboard>=2.14"],
        "test": ["pytest>=8", "hypothesis>=6.100", "scikit-learn>=1.4", "segments-ai>=1.13", "psutil>=5.9",
                 "ruff>=0.6", "mypy>=1.10", "build>=1.2"],
    },
    entry_points={"console_scripts": ["lidal3d = lidal3d.cli.main:main"]},
    classifiers=["Programming Language :: Python :: 3", "License :: OSI Approved :: Apache Software License",
                 "Operating System :: POSIX :: Linux"],
)  # fmt: skip
