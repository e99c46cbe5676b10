#!/usr/bin/env python3
"""A PyTorch training step on several processes, DistributedDataParallel over gloo: the peer of `mpirun -np N vjepa pretrain`.

  python3 tests/bench/peer_ddp.py TORCH_VJEPA2.PY bench --ranks 2 --threads 1 --model quickstart --crop 64 --frames 8 --batch 16 --steps 20

TORCH_VJEPA2.PY is the training step that peer_step.py drives for one process. --batch is that of all ranks together. Encoder and
predictor are one module under DistributedDataParallel, so that gradients are averaged while the backward pass goes on; every rank has
its own clips and masks and updates everything, target encoder included. A mask token that is not used has no gradient. Prints, as
peer_step.py does, "total SECONDS s" for every step, that of the slowest rank, and "peak GIB GiB", that of all ranks together; at the
end one line of JSON: clips a second of the median step, the first left out.
"""
import argparse
import importlib.util
import json
import os
import resource
import socket
import statistics
import sys
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F


def load(path):
    spec = importlib.util.spec_from_file_location("torch_vjepa2", path)
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    peer.SIZES["quickstart"] = (128, 6, 4, 512)
    return peer


class Student(nn.Module):
    """Loss of both networks over all masks of a batch, so that one DistributedDataParallel sees one forward and one backward."""

    def __init__(self, enc, pred):
        super().__init__()
        self.enc, self.pred = enc, pred

    def forward(self, clips, h, pairs, grid):
        loss = 0.0
        for ctx, tgt in pairs:
            out = self.pred(self.enc(clips, ctx), ctx, tgt, grid)
            ref = torch.gather(h, 1, tgt[..., None].expand(-1, -1, h.shape[-1]))
            loss = loss + (out - ref).abs().mean() / len(pairs)
        return loss


def run(rank, args, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(args.threads)
    torch.set_num_interop_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=args.ranks)
    peer = load(args.peer)
    torch.manual_seed(args.seed)          # the same weights everywhere
    enc, pred, teacher = peer.build(args, torch.float32)
    for token in list(pred.mask_tokens)[1:]:
        token.requires_grad_(False)
    student = nn.parallel.DistributedDataParallel(Student(enc, pred), gradient_as_bucket_view=True, static_graph=args.static_graph)
    opt = torch.optim.AdamW(peer.groups(enc, pred, 0.04), lr=1e-4)
    n = (args.frames // 2) * (args.crop // args.patch) ** 2
    grid = (args.frames // 2, args.crop // args.patch, args.crop // args.patch)
    ctx = args.ctx or [int(n * .384), int(n * .190)]
    tgt = args.tgt or [n - c for c in ctx]
    own = args.batch // args.ranks
    gen = torch.Generator().manual_seed(rank)
    torch.manual_seed(1000 + rank)
    seconds = []
    for s in range(args.steps):
        clips = torch.randn(own, 3, args.frames, args.crop, args.crop)
        pairs = peer.random_pairs(own, n, ctx, tgt, gen)
        dist.barrier()
        began = time.perf_counter()
        with torch.no_grad():
            h = teacher(clips)
            h = F.layer_norm(h, h.shape[-1:])
        loss = student(clips, h, pairs, grid)
        loss.backward()
        opt.step()
        opt.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_mul_(list(teacher.parameters()), 0.99925)
            torch._foreach_add_(list(teacher.parameters()), list(enc.parameters()), alpha=1 - 0.99925)
        figures = torch.tensor([time.perf_counter() - began], dtype=torch.float64)
        memory = torch.tensor([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20], dtype=torch.float64)
        dist.all_reduce(figures, op=dist.ReduceOp.MAX)
        dist.all_reduce(memory)
        seconds.append(figures.item())
        if rank == 0:
            print(f"step {s} ctx {ctx} tgt {tgt} loss {loss.item():.4f} total {figures.item():.4f} s peak {memory.item():.3f} GiB",
                  flush=True)
    if rank == 0:
        median = statistics.median(seconds[1:] or seconds)
        print(json.dumps({"ranks": args.ranks, "threads": args.threads, "batch": args.batch, "step_seconds": median,
                          "clips_per_second": args.batch / median, "peak_rss_bytes": memory.item() * 2**30}), flush=True)
    dist.destroy_process_group()


def main():
    if len(sys.argv) < 3 or sys.argv[2] != "bench":
        sys.exit(__doc__)
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", default="quickstart")
    for k, v in (("ranks", 2), ("threads", 1), ("crop", 64), ("frames", 8), ("batch", 16), ("patch", 16), ("steps", 20), ("seed", 0)):
        ap.add_argument("--" + k, type=int, default=v)
    for k in ("pred-width", "pred-depth", "pred-heads"):
        ap.add_argument("--" + k, type=int)
    ap.add_argument("--ctx", type=int, nargs="*")
    ap.add_argument("--tgt", type=int, nargs="*")
    ap.add_argument("--static-graph", action="store_true", help="as the published code wraps its encoder")
    args = ap.parse_args(sys.argv[3:])
    args.peer = sys.argv[1]
    small = args.model == "quickstart"
    args.pred_width = args.pred_width or (96 if small else 384)
    args.pred_depth = args.pred_depth or (3 if small else 12)
    args.pred_heads = args.pred_heads or (3 if small else 12)
    if args.batch % args.ranks:
        sys.exit(f"a batch of {args.batch} on {args.ranks} ranks: every rank must have the same number of clips")
    with socket.socket() as s:            # a port nobody has
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.spawn(run, (args, port), nprocs=args.ranks)


if __name__ == "__main__":
    main()
