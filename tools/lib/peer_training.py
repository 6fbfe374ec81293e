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
from lib import zoo
from lib.resnet20 import ResNet20
from torch import nn

warnings.filterwarnings("ignore")
job = json.loads(pathlib.Path(sys.argv[1]).read_text())
torch.set_num_threads(job["threads"])
torch.manual_seed(1)

from torchvision import datasets, transforms  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
steps = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
if job["network"] == "resnet20":
    network = ResNet20()
else:
    network = zoo.create(job["network"])
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
    for parameter in network.get_submodule(job["unfreeze"]).parameters():
        parameter.requires_grad = True
network.fc = nn.Linear(network.fc.in_features, len(data.classes))
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
