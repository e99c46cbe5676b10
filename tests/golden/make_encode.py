"""Videos and what transformers makes of them, for tests/evals/test_encode_hf.c: python3 make_encode.py formats/hf encode

The frames are drawn here and stored without loss, so what is compared is everything behind the decoder: which frame is shown
when, which square of it, how it is resampled and normalised, positions, blocks, norm. Needs torch, transformers, and ffmpeg."""
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import VJEPA2Config, VJEPA2Model

hf, out = sys.argv[1], Path(sys.argv[2])
RATE, FRAMES = 8, 20   # 2.5 s: the third clip of one second runs half a second over the end
out.mkdir(exist_ok=True)


def draw(height, width):
    """Smooth, moving, different in every colour and along every axis: (FRAMES, height, width, 3) of uint8."""
    t, y, x = torch.meshgrid(torch.arange(FRAMES), torch.arange(height), torch.arange(width), indexing="ij")
    waves = [torch.sin(0.31 * x + 0.5 * t), torch.cos(0.23 * y - 0.4 * t + 0.05 * x), torch.sin(0.02 * x * y / 4 + 0.9 * t)]
    frames = torch.stack([127.5 + 100 * w for w in waves], dim=-1)
    frames[:, 5:14, 8:20] += 60
    return frames.round().clamp(0, 255).to(torch.uint8)


def store(frames, path):
    _, height, width, _ = frames.shape
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(RATE),
                    "-i", "-", "-c:v", "ffv1", "-level", "3", "-coder", "1", "-pix_fmt", "gbrp", "-bitexact", "-fflags", "+bitexact",
                    str(path)], input=frames.numpy().tobytes(), check=True)


def squares(height, width, side, crops):
    """(top, left, side) of evaluation crops: the middle of a short side of side * 256 / 224, or three along the long side."""
    short = min(height, width)
    if crops == 1:
        edge = round(side * short / (side * 256 // 224))
        return [((height - edge) // 2, (width - edge) // 2, edge)]
    steps = [(max(height, width) - short) // 2 * k for k in range(3)]
    return [(s, 0, short) if height > width else (0, s, short) for s in steps]


def clip(frames, start, fps, count, side, crops):
    """The frames shown at start + j / fps, (crops, count, 3, side, side), normalised."""
    shown = [min(int((start + j / fps) * RATE + 1e-6), FRAMES - 1) for j in range(count)]
    pixels = frames[shown].permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (pixels - mean[:, None, None]) / std[:, None, None]
    views = []
    for top, left, edge in squares(*frames.shape[1:3], side, crops):
        box = pixels[:, :, top:top + edge, left:left + edge]
        views.append(torch.nn.functional.interpolate(box, size=(side, side), mode="bilinear", align_corners=False, antialias=False))
    return torch.stack(views)


def features(clips, layers):
    """(clips, crops, count, 3, S, S) -> (clips, crops, layers, tokens, C): blocks after the encoder's final norm."""
    config = VJEPA2Config.from_pretrained(hf)
    config.crop_size, config.frames_per_clip = clips.shape[-1], clips.shape[2]
    model = VJEPA2Model.from_pretrained(hf, config=config).eval()
    seen = {}
    for number, layer in enumerate(model.encoder.layer):
        layer.register_forward_hook(lambda _, __, y, number=number: seen.update({number: y[0] if isinstance(y, tuple) else y}))
    with torch.no_grad():
        last = model(clips.flatten(0, 1), skip_predictor=True).last_hidden_state
        each = [model.encoder.layernorm(seen[number]) for number in layers]
    assert layers[-1] != len(seen) - 1 or torch.equal(each[-1], last)
    return torch.stack(each, dim=1).unflatten(0, clips.shape[:2]).contiguous()


wide, tall = draw(40, 46), draw(44, 36)
store(wide, out / "wide.mkv")
store(tall, out / "tall.mkv")
whole = torch.stack([clip(wide, start, 4, 4, 16, 1) for start in (0.0, 1.0, 2.0)])
views = torch.stack([clip(tall, start, 4, 4, 16, 3) for start in (0.0, 1.5)])
large = torch.stack([clip(wide, start, 8, 6, 24, 1) for start in (0.875,)])
save_file({"whole": features(whole, [0, 1]), "views": features(views, [1]), "large": features(large, [1])}, out / "expect.safetensors")
