"""Does PyTorch agree with our .pt? python3 check_official.py OURS.pt [ORIGINAL.pt] (torch; not part of any test run).

OURS is `vjepa checkpoint export --format official`, perhaps of an import of ORIGINAL: loads it with weights_only=True,
compares every tensor and the optimiser's state with ORIGINAL, and takes a step with an AdamW that loaded the state.
"""
import sys

import torch

ours = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
torch.load(sys.argv[1], map_location="cpu", weights_only=False)
torch.load(sys.argv[1], map_location="cpu", weights_only=True, mmap=True)
keys = {"encoder", "predictor", "target_encoder", "opt", "scaler", "epoch", "loss", "batch_size", "world_size", "lr"}
assert set(ours) == keys, set(ours) ^ keys
assert all(k.startswith("module.backbone.") for n in ("encoder", "predictor", "target_encoder") for k in ours[n])

if len(sys.argv) > 2:
    original = torch.load(sys.argv[2], map_location="cpu", weights_only=True)
    n = 0
    for network in ("encoder", "predictor", "target_encoder"):
        assert set(ours[network]) == set(original[network])
        for key, t in original[network].items():
            assert torch.equal(ours[network][key], t) and ours[network][key].dtype == t.dtype, key
            n += 1
    assert set(ours["opt"]["state"]) == set(original["opt"]["state"])
    for index, state in original["opt"]["state"].items():
        assert set(ours["opt"]["state"][index]) == set(state)
        for key, t in state.items():
            assert torch.equal(ours["opt"]["state"][index][key], t), (index, key)
            n += 1
    for a, b in zip(ours["opt"]["param_groups"], original["opt"]["param_groups"], strict=True):
        assert a["params"] == b["params"] and a.get("WD_exclude") == b.get("WD_exclude")
    print(f"{n} tensors equal those of {sys.argv[2]}")
    for key in ("scaler", "epoch", "loss", "batch_size", "world_size", "lr"):
        print(f"  {key}: {ours[key]} (original {original[key]})")


def split(names):   # in registration order
    def place(name):
        parts = name.removeprefix("module.backbone.").split(".")
        top = ["patch_embed", "predictor_embed", "mask_tokens", "blocks", "predictor_blocks", "norm", "predictor_norm",
               "predictor_proj"].index(parts[0])
        number = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
        leaf = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"]
        part = next((i for i, p in enumerate(leaf) if "." + p + "." in name), 0)
        return top, number, part, name.endswith("bias")
    return sorted(names, key=place)


def groups(state):
    parameters = {n: torch.nn.Parameter(state[n].clone()) for n in split(state)}
    decayed = [p for n, p in parameters.items() if "bias" not in n and p.ndim != 1]
    rest = [p for n, p in parameters.items() if not ("bias" not in n and p.ndim != 1)]
    return decayed, rest


encoder, predictor = groups(ours["encoder"]), groups(ours["predictor"])
optimizer = torch.optim.AdamW([{"params": encoder[0]}, {"params": predictor[0]},
                               {"params": encoder[1], "WD_exclude": True, "weight_decay": 0},
                               {"params": predictor[1], "WD_exclude": True, "weight_decay": 0}], lr=1e-3)
optimizer.load_state_dict(ours["opt"])   # shares the counts of steps, so this comes last
held = 0
for group in optimizer.param_groups:
    for p in group["params"]:
        if p in optimizer.state:
            held += 1
            assert optimizer.state[p]["exp_avg"].shape == p.shape and optimizer.state[p]["exp_avg_sq"].shape == p.shape
        p.grad = torch.ones_like(p)
optimizer.step()
print(f"{sys.argv[1]}: {sum(len(ours[n]) for n in ('encoder', 'predictor', 'target_encoder'))} tensors, "
      f"{held} parameters with state, {[len(g['params']) for g in optimizer.param_groups]} in the groups; AdamW takes a step")
