#!/usr/bin/env bash
# Take out of an environment what a run never touches: docker/slim.sh ENVIRONMENT
# What stays although it looks unneeded: torch_shm_manager serves tensors that processes share.
set -euo pipefail

site=("$1"/lib/python3.*/site-packages)
cd "${site[0]}"

# Headers and programs for building on top of PyTorch and Arrow, and the installer: an image has no use for them.
rm -rf torch/include torch/share torch/test pyarrow/include pyarrow/src pip pip-*.dist-info ../../../bin/pip*
find torch/bin -type f ! -name torch_shm_manager -delete
find torch/lib -name '*test*.so' -delete
# Arrow's servers and clouds: datasets reads files.
find pyarrow \( -name '*flight*.so*' -o -name '*s3*.so*' \) -type f -delete
# The libraries' own tests.
for package in matplotlib mpmath networkx numpy pandas pyarrow scipy sympy; do
    find "$package" -type d -name tests -prune -exec rm -rf {} +
done
# Symbols for debuggers. Libraries whose parts were moved when they were packed (*.libs) stay as they are, and so do
# NVIDIA's.
find . \( -name '*.so' -o -name '*.so.*' \) -type f ! -path '*.libs/*' ! -path './nvidia/*' ! -name '*cuda*' -print0 |
    xargs -0 strip --strip-unneeded
