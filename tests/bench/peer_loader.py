#!/usr/bin/env python3
"""Other decoders as peers of `vjepa bench loader`: the same clips from the original files, on one thread.

  vjepa bench loader SHARDS --originals DIR --list work.jsonl --dump ours.f32 \\
    --peer "python3 tests/bench/peer_loader.py pyav work.jsonl"
  python3 tests/bench/peer_loader.py pyav work.jsonl --compare ours.f32

Backends: pyav, decord, torchcodec (pictures: PIL for all). A clip is made as a training program makes it: open the file, seek to
the key frame before the first wanted frame, decode to the last wanted one, convert the wanted ones to RGB, crop, resize
(bilinear, torch), normalise. Prints "total SECONDS s" for each of the passes, then "peak GIB GiB".
"""
import argparse
import json
import resource
import time

import numpy as np
import torch
import torch.nn.functional as F

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1, 1) * 255
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1, 1) * 255


def pyav_frames(item):
    import av

    times = [item["start"] + t for t in item["times"]]
    with av.open(item["file"]) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        base, first = stream.time_base, stream.start_time or 0
        container.seek(max(0, int(times[0] / base) + first), stream=stream)
        out, k, last = [], 0, None
        for frame in container.decode(stream):
            now = float((frame.pts - first) * base)
            if last is None and now > times[0] + 1e-3:   # the seek went too far: from the beginning
                container.seek(0, stream=stream)
                last = frame
                continue
            while k < len(times) and now >= times[k] - 1e-3:
                out.append(out[-1] if k and times[k] == times[k - 1] else frame.to_ndarray(format="rgb24"))
                k += 1
            if k == len(times):
                break
            last = frame
        while len(out) < len(times):
            out.append(out[-1])
    return np.stack(out)


def decord_frames(item):
    import decord

    reader = decord.VideoReader(item["file"], num_threads=1)
    if item["start"] == 0:
        return reader.get_batch(item["frames"]).asnumpy()   # as the published code asks for them
    stamps = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0]
    stamps = stamps - stamps[0]
    wanted = np.array([item["start"] + t for t in item["times"]])
    index = np.clip(np.searchsorted(stamps, wanted + 1e-3) - 1, 0, len(stamps) - 1)
    return reader.get_batch(index).asnumpy()


def torchcodec_frames(item):
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(item["file"], num_ffmpeg_threads=1, dimension_order="NHWC")
    begin, end = decoder.metadata.begin_stream_seconds, decoder.metadata.end_stream_seconds
    wanted = [min(begin + item["start"] + t + 1e-3, end - 1e-4) for t in item["times"]]
    return decoder.get_frames_played_at(wanted).data


def picture(item):
    from PIL import Image

    return np.asarray(Image.open(item["file"]).convert("RGB"))[None]


def clip_of(item, frames):
    x = picture(item) if item["image"] else frames(item)
    x = torch.as_tensor(x)[:, item["top"]:item["top"] + item["height"], item["left"]:item["left"] + item["width"]]
    x = x.permute(0, 3, 1, 2).float()
    x = F.interpolate(x, size=(item["side"], item["side"]), mode="bilinear", align_corners=False)
    if item["flip"]:
        x = x.flip(-1)
    return (x.permute(1, 0, 2, 3) - MEAN) / STD


def main():
    p = argparse.ArgumentParser()
    p.add_argument("backend", choices=("pyav", "decord", "torchcodec"))
    p.add_argument("list")
    p.add_argument("--passes", type=int, default=2)
    p.add_argument("--compare", help="pixels of the first 16 clips: print how far ours are from them, in levels of 255")
    a = p.parse_args()
    torch.set_num_threads(1)
    frames = {"pyav": pyav_frames, "decord": decord_frames, "torchcodec": torchcodec_frames}[a.backend]
    items = [json.loads(line) for line in open(a.list)]
    if a.compare:
        ours, at, worst, means = np.fromfile(a.compare, dtype=np.float32), 0, 0.0, []
        for item in items[:16]:
            x = clip_of(item, frames)
            y = torch.from_numpy(ours[at:at + x.numel()]).view(x.shape)
            at += x.numel()
            levels = ((x - y) * STD).abs()
            means.append(levels.mean().item())
            worst = max(worst, levels.max().item())
        print(f"{len(means)} clips: mean difference {np.mean(means):.3f} levels (worst clip {max(means):.3f}), largest {worst:.1f}")
        return
    for _ in range(a.passes):
        began = time.perf_counter()
        for item in items:
            clip_of(item, frames)
        print(f"total {time.perf_counter() - began:.4f} s", flush=True)
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.3f} GiB")


if __name__ == "__main__":
    main()
