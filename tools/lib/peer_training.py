"""PyTorch's side of `benchmark-peers --finetune`, a process of its own.

usage: python -m lib.peer_training SPECIFICATION.json

Prints one JSON object: `seconds` of the whole loop without imports and without loading the network,
`step_seconds` of every step after the first epoch, `loss` of the last epoch, `peak_bytes`.
"""

import json
import pathlib
import resource
import sys
import time
import warnings

import torch
from lib import families, zoo
from lib.resnet20 import ResNet20
from torch import nn

warnings.filterwarnings("ignore")
job = json.loads(pathlib.Path(sys.argv[1]).read_text())
torch.set_num_threads(job["threads"])
torch.manual_seed(1)

from torchvision import datasets, transforms  # noqa: E402

HEADS = {"vit_b_16": "heads.head", "convnext_tiny": "classifier.2"}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
steps = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
if job["network"] == "resnet20":
    network = ResNet20()
else:
    name = job["network"]
    network = families.create(name)[0] if name in families.ALL else zoo.create(name)
    steps = [transforms.Resize(256), transforms.CenterCrop(224), *steps]
network.load_state_dict(torch.load(job["weights"], weights_only=True))

start = time.perf_counter()
data = datasets.ImageFolder(job["data"], transforms.Compose(steps))
loader = torch.utils.data.DataLoader(
    data, batch_size=job["batch"], shuffle=True, num_workers=2, persistent_workers=True
)
for parameter in network.parameters():
    parameter.requires_grad = job["unfreeze"] == "all"
if job["unfreeze"] not in ("none", "all"):
    # From there on, in the order of the modules, which is that of the forward pass.
    names = [name for name, _ in network.named_parameters()]
    first = next(i for i, name in enumerate(names) if name.startswith(job["unfreeze"] + "."))
    for name, parameter in list(network.named_parameters())[first:]:
        parameter.requires_grad = True
for module in network.modules():
    # Graft drops no blocks.
    if type(module).__name__ == "StochasticDepth":
        module.p = 0.0
place, _, last = HEADS.get(job["network"], "fc").rpartition(".")
holder = network.get_submodule(place)
setattr(holder, last, nn.Linear(getattr(holder, last).in_features, len(data.classes)))
trained = [p for p in network.parameters() if p.requires_grad]
optimizer = torch.optim.SGD(trained, lr=0.001, momentum=0.9)
network.train()
if job["bn"] == "frozen":
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
step_seconds = []
for epoch in range(job["epochs"]):
    total = 0.0
    for x, y in loader:
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        total += float(loss) * len(y)
        if epoch > 0 and len(y) == job["batch"]:
            step_seconds.append(time.perf_counter() - begin)
seconds = time.perf_counter() - start
print(
    json.dumps(
        {
            "seconds": seconds,
            "step_seconds": step_seconds,
            "loss": total / len(data),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
    )
)
