#!/usr/bin/env python3
"""A PyTorch training step as the peer of `vjepa bench step`, with the quickstart's model added.

  python3 tests/bench/peer_step.py TORCH_VJEPA2.PY bench --model quickstart --crop 64 --frames 8 --batch 16 --steps 6

TORCH_VJEPA2.PY is a PyTorch training step with the interface of `bench`: it prints "total SECONDS s" for every step and
"peak GIB GiB". Everything behind it is handed on.
"""
import importlib.util
import sys


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    spec = importlib.util.spec_from_file_location("torch_vjepa2", sys.argv[1])
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    peer.SIZES["quickstart"] = (128, 6, 4, 512)
    sys.argv = [sys.argv[1]] + sys.argv[2:]
    if "quickstart" in sys.argv:
        sys.argv += ["--pred-width", "96", "--pred-depth", "3", "--pred-heads", "3"]
    peer.main()


if __name__ == "__main__":
    main()
