"""Files of other programs for tests/jobs/test_formats.c: python3 make_formats.py formats (torch, transformers)."""
import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import VJEPA2Config, VJEPA2Model

out = Path(sys.argv[1])
torch.manual_seed(5)
config = VJEPA2Config(patch_size=4, crop_size=16, frames_per_clip=4, tubelet_size=2, hidden_size=24, num_attention_heads=2,
                      num_hidden_layers=2, mlp_ratio=2.0, pred_hidden_size=24, pred_num_attention_heads=2,
                      pred_num_hidden_layers=1, pred_num_mask_tokens=3)
model = VJEPA2Model(config).eval()
with torch.no_grad():
    for name, p in model.named_parameters():   # no zeros and ones: they would hide exchanged tensors
        if "mask_tokens" in name:
            p.copy_(0.5 * torch.randn_like(p))
        elif p.ndim == 1:
            p.add_(0.1 * torch.randn_like(p))
        else:
            p.mul_(4)
model.save_pretrained(out / "hf")

# What the model makes of two clips: features, and predictions with a mask of two parts.
clips = torch.randn(2, 4, 3, 16, 16)
ctx = torch.stack([torch.arange(0, 20), torch.arange(3, 23)])
tgt = torch.stack([torch.arange(20, 32), torch.cat([torch.arange(0, 3), torch.arange(23, 32)])])
with torch.no_grad():
    features = model(pixel_values_videos=clips, skip_predictor=True).last_hidden_state
    # Tokens are dropped before the blocks, as in training (the model's own forward drops them afterwards).
    x = model.encoder.embeddings(clips)
    ids = ctx.unsqueeze(-1).expand(-1, -1, x.shape[-1])
    x = x.gather(1, ids)
    for layer in model.encoder.layer:
        x = layer(x, position_mask=ctx)
        x = x[0] if isinstance(x, tuple) else x
    x = torch.zeros_like(features).scatter(1, ids, model.encoder.layernorm(x))
    prediction = model.predictor(x, [ctx], [tgt]).last_hidden_state
save_file({"clips": clips.permute(0, 2, 1, 3, 4).contiguous(), "features": features.contiguous(),
           "prediction": prediction.contiguous(),
           "ctx_0": ctx.int(), "tgt_0": tgt.int()}, out / "expect.safetensors")


# The published training checkpoint, after two steps of AdamW.
class Attention(torch.nn.Module):
    def __init__(self, d):
        super().__init__()
        self.qkv, self.proj = torch.nn.Linear(d, 3 * d), torch.nn.Linear(d, d)


class Mlp(torch.nn.Module):
    def __init__(self, d, m):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(d, m), torch.nn.Linear(m, d)


class Block(torch.nn.Module):
    def __init__(self, d, m):
        super().__init__()
        self.norm1, self.attn = torch.nn.LayerNorm(d), Attention(d)
        self.norm2, self.mlp = torch.nn.LayerNorm(d), Mlp(d, m)


class Encoder(torch.nn.Module):
    def __init__(self, d=24, m=48, depth=2):
        super().__init__()
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj = torch.nn.Conv3d(3, d, (2, 4, 4), (2, 4, 4))
        self.blocks = torch.nn.ModuleList(Block(d, m) for _ in range(depth))
        self.norm = torch.nn.LayerNorm(d)


class Predictor(torch.nn.Module):
    def __init__(self, d=24, q=24, tokens=3, depth=1):
        super().__init__()
        self.predictor_embed = torch.nn.Linear(d, q)
        self.mask_tokens = torch.nn.ParameterList(torch.nn.Parameter(torch.randn(1, 1, q)) for _ in range(tokens))
        self.predictor_blocks = torch.nn.ModuleList(Block(q, 4 * q) for _ in range(depth))
        self.predictor_norm = torch.nn.LayerNorm(q)
        self.predictor_proj = torch.nn.Linear(q, d)


class Wrapped(torch.nn.Module):   # DDP around the wrapper for several sequences
    def __init__(self, inner):
        super().__init__()
        self.module = torch.nn.Module()
        self.module.backbone = inner


encoder, predictor, target = Wrapped(Encoder()), Wrapped(Predictor()), Wrapped(Encoder())


def parameters(module, decayed):
    return [p for n, p in module.named_parameters() if (("bias" not in n) and (len(p.shape) != 1)) == decayed]


groups = [{"params": parameters(encoder, True)}, {"params": parameters(predictor, True)},
          {"params": parameters(encoder, False), "WD_exclude": True, "weight_decay": 0},
          {"params": parameters(predictor, False), "WD_exclude": True, "weight_decay": 0}]
optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.04)
unused = predictor.module.backbone.mask_tokens[2]
for step in range(2):
    for network in (encoder, predictor):
        for p in network.parameters():
            p.grad = None if p is unused else torch.randn_like(p)
    optimizer.step()
torch.save({"encoder": encoder.state_dict(), "predictor": predictor.state_dict(), "opt": optimizer.state_dict(),
            "scaler": None, "target_encoder": target.state_dict(), "epoch": 7, "loss": 0.25, "batch_size": 24,
            "world_size": 128, "lr": 5.25e-4}, out / "official.pt")

# Its lines of `vjepa checkpoint hash --per-tensor`, from the tensors themselves.
lines = []
for name, network in (("encoder", encoder), ("predictor", predictor), ("target_encoder", target)):
    for key, p in network.named_parameters():
        official = name + "." + key.removeprefix("module.backbone.")
        state = optimizer.state.get(p, {})
        kinds = {"/param": p}
        if name != "target_encoder":
            kinds |= {"/" + k: state.get(k, torch.zeros_like(p)) for k in ("exp_avg", "exp_avg_sq")}
        for kind, t in kinds.items():
            digest = hashlib.sha256(t.detach().numpy().tobytes()).hexdigest()
            lines.append(f"{official}{kind} float32 [{','.join(str(n) for n in t.shape)}] {digest}")
lines = sorted(lines, key=str.encode)
(out / "official.lines").write_text("".join(line + "\n" for line in lines))
