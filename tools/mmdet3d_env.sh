#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The lidal3d authors
# SPDX-License-Identifier: Apache-2.0
#
# Make a virtual environment in which mmdet3d 1.4.0 runs on a CPU, its compiled operators included:
#
#     tools/mmdet3d_env.sh DIR              # about 12 minutes on two free cores, nearly all of it compiling mmcv
#     DIR/bin/python tools/mmdet3d_predict.py --help
#
# Needs Python 3.10 or 3.11 (PYTHON=python3.11 to choose), a C++ compiler and 3 GB of disk. MAX_JOBS=1 compiles on one core.
# Run it again after a failure: what is there already is kept. Of lidal3d only the package goes in, without its dependencies.
set -euo pipefail

if [ $# -ne 1 ]; then
    echo "usage: tools/mmdet3d_env.sh DIR" >&2
    exit 2
fi
dir=$1
say() { echo "mmdet3d_env: $*"; }

if [ ! -x "$dir/bin/python" ]; then
    say "new virtual environment in $dir"
    "${PYTHON:-python3}" -m venv "$dir"
fi
python=$dir/bin/python
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }

# torch 2.13.0 exactly: a range that admits newer releases pulls several GB of CUDA packages.
# setuptools<81: mmcv's setup.py and mmengine import pkg_resources, which 81 removed. numpy<2: the nuScenes kit.
say "torch, and what mmengine, mmdet and mmdet3d import"
pip install torch==2.13.0 "setuptools<81" wheel ninja psutil "numpy==1.26.4" \
    addict "matplotlib<3.11" pyyaml rich termcolor yapf "opencv-python-headless<4.12" \
    pycocotools scipy "shapely~=2.0.3" six terminaltables tqdm \
    numba==0.68.1 llvmlite==0.50.0 networkx plyfile scikit-image tensorboard trimesh pandas \
    nuscenes-devkit==1.2.0 pyquaternion packaging spconv==2.3.8 "cumm>=0.7.11,<0.8"

# --no-deps: their lists ask for Open3D, a second OpenCV, and tools such as black and pytest that nothing here imports.
say "mmengine 0.10.7, mmdet 3.3.0, mmdet3d 1.4.0"
pip install --no-deps mmengine==0.10.7 mmdet==3.3.0 mmdet3d==1.4.0 lyft-dataset-sdk==0.0.8

if "$python" -c "import mmcv.ops" 2>/dev/null; then
    say "mmcv 2.1.0 with operators is there already"
else
    # Unpacked where the objects stay, so that a build that was interrupted goes on. -g0: debugging data cost a third.
    source=$dir/src/mmcv-2.1.0
    if [ ! -f "$source/setup.py" ]; then
        pip download --no-build-isolation --no-deps --no-binary mmcv --dest "$dir/src" mmcv==2.1.0
        tar -xzf "$dir/src/mmcv-2.1.0.tar.gz" -C "$dir/src"
    fi
    say "compiling mmcv 2.1.0 with operators for the CPU: 77 files"
    began=$SECONDS
    MMCV_WITH_OPS=1 FORCE_CUDA=0 CFLAGS="-g0 -w" pip install --no-build-isolation --no-deps "$source"
    say "mmcv compiled in $((SECONDS - began)) s"
fi

# What reads the drive and writes the predictions; its readers need nothing that is not here already.
say "lidal3d, without its dependencies"
pip install --no-deps "$(cd "$(dirname "$0")/.." && pwd)"

say "testing"
"$python" - <<'PYTHON'
import mmcv, mmdet, mmdet3d, mmengine, torch
from mmcv.ops import Voxelization, furthest_point_sample, nms_rotated
from mmdet3d.utils import register_all_modules

register_all_modules()
boxes = torch.tensor([[0.0, 0, 4, 2, 0], [0.1, 0, 4, 2, 0], [9, 0, 4, 2, 0.5]])
kept = nms_rotated(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)[1].tolist()
assert kept == [0, 2], kept
assert Voxelization([1, 1, 4], [0, 0, -2, 4, 4, 2], 5, 20)(torch.rand(50, 4) * 2)[0].shape[1:] == (5, 4)
print(f"mmdet3d {mmdet3d.__version__}, mmdet {mmdet.__version__}, mmcv {mmcv.__version__}, mmengine {mmengine.__version__}, "
      f"torch {torch.__version__}: operators run")
PYTHON
say "done: $dir/bin/python"
