"""Networks beyond torchvision's classical classifiers: Transformers, segmentation, generators, volumes, sound.

torchvision's and timm's by name (`timm.NAME`), and networks of the literature that are written here. Weights are
seeded so that the output of unlike inputs differs. Import only: it has no command line.
"""

import numpy as np
import torch
from lib import inputs, zoo
from torch import nn
from torchvision import models
from torchvision.models import segmentation

TORCHVISION = [
    "convnext_tiny", "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t", "efficientnet_b0", "efficientnet_v2_s",
    "mnasnet1_0", "regnet_y_400mf", "resnext50_32x4d", "wide_resnet50_2", "fcn_resnet50",
    "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "r3d_18",
]
TIMM = [
    "xception41", "legacy_xception", "seresnet50", "mobilevit_s", "mobilenetv4_conv_small", "ghostnet_100",
    "hrnet_w18_small", "convmixer_768_32", "deit_tiny_patch16_224", "mixer_b16_224", "nfnet_l0",
    "inception_resnet_v2", "dpn68", "resnet50d", "efficientformer_l1", "levit_128", "coatnet_0_rw_224",
    "vit_small_patch14_reg4_dinov2",
]


class UNet(nn.Module):
    """Ronneberger et al. 2015, three levels; the way up by transposed convolutions or by Resize."""

    def __init__(self, up: str):
        super().__init__()
        self.up = up
        widths = [3, 32, 64, 128]
        self.down = nn.ModuleList(self.block(a, b) for a, b in zip(widths, widths[1:]))
        self.turns = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, 2) if up == "transposed" else nn.Conv2d(b, a, 1)
            for a, b in ((64, 128), (32, 64)))
        self.joins = nn.ModuleList(self.block(2 * a, a) for a in (64, 32))
        self.mask = nn.Conv2d(32, 5, 1)

    @staticmethod
    def block(a: int, b: int) -> nn.Sequential:
        layers = [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
        return nn.Sequential(*layers, nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())

    def forward(self, x):
        levels = []
        for index, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if index else x)
            levels.append(x)
        for turn, join, level in zip(self.turns, self.joins, levels[-2::-1]):
            if self.up != "transposed":
                x = nn.functional.interpolate(
                    x, scale_factor=2, mode="bilinear", align_corners=self.up == "corners")
            x = join(torch.cat([level, turn(x)], 1))
        return self.mask(x)


class PixelNorm(nn.Module):
    """Karras et al. 2018, section 4.2."""

    def forward(self, x):
        return x / torch.sqrt(torch.mean(x * x, dim=1, keepdim=True) + 1e-8)


class Residual(nn.Module):
    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.body(x)


def dcgan() -> nn.Module:
    """Radford et al. 2016: from a code [N, 100, 1, 1] to pictures of 64x64."""
    widths, layers = [100, 512, 256, 128, 64], []
    for index, (a, b) in enumerate(zip(widths, widths[1:])):
        stride, pad = (2, 1) if index else (1, 0)
        layers += [nn.ConvTranspose2d(a, b, 4, stride, pad, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh())


def pggan() -> nn.Module:
    """A generator of growing pictures, with pixel norm and nearest Resize."""
    layers = [nn.ConvTranspose2d(64, 64, 4), nn.LeakyReLU(0.2), PixelNorm()]
    for a, b in ((64, 64), (64, 32), (32, 16)):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(a, b, 3, padding=1), nn.LeakyReLU(0.2), PixelNorm()]
    return nn.Sequential(*layers, nn.Conv2d(16, 3, 1))


class BigGANBlock(nn.Module):
    """Brock et al. 2019, without class conditions: spectral norm, Resize on both ways."""

    def __init__(self, a: int, b: int):
        super().__init__()
        spectral = nn.utils.spectral_norm  # the newer one needs vdot, which the older exporter lacks
        self.one, self.two = spectral(nn.Conv2d(a, b, 3, padding=1)), spectral(nn.Conv2d(b, b, 3, padding=1))
        self.short = spectral(nn.Conv2d(a, b, 1))
        self.norms = nn.ModuleList([nn.BatchNorm2d(a), nn.BatchNorm2d(b)])

    def forward(self, x):
        twice = nn.Upsample(scale_factor=2)
        y = self.two(torch.relu(self.norms[1](self.one(twice(torch.relu(self.norms[0](x)))))))
        return y + self.short(twice(x))


def biggan() -> nn.Module:
    start = [nn.Flatten(), nn.Linear(32, 64 * 16), nn.Unflatten(1, (64, 4, 4))]
    end = [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1), nn.Tanh()]
    return nn.Sequential(*start, BigGANBlock(64, 32), BigGANBlock(32, 16), *end)


def cyclegan() -> nn.Module:
    """Zhu et al. 2017: reflection pads, instance norm, transposed convolutions."""
    def block(a, b, k, **options):
        return [nn.Conv2d(a, b, k, **options), nn.InstanceNorm2d(b), nn.ReLU()]

    layers = [nn.ReflectionPad2d(3), *block(3, 32, 7), *block(32, 64, 3, stride=2, padding=1),
              *block(64, 128, 3, stride=2, padding=1)]
    for _ in range(2):
        layers.append(Residual(nn.ReflectionPad2d(1), *block(128, 128, 3), nn.ReflectionPad2d(1),
                               *block(128, 128, 3)[:2]))
    for a, b in ((128, 64), (64, 32)):
        layers += [nn.ConvTranspose2d(a, b, 3, 2, 1, 1), nn.InstanceNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(32, 3, 7), nn.Tanh())


def srgan() -> nn.Module:
    """Ledig et al. 2017: PReLU, and pixels from channels."""
    def body():
        return Residual(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.PReLU(),
                        nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32))

    ups = [layer for _ in range(2) for layer in
           (nn.Conv2d(32, 128, 3, padding=1), nn.PixelShuffle(2), nn.PReLU())]
    return nn.Sequential(nn.Conv2d(3, 32, 9, padding=4), nn.PReLU(), body(), body(), *ups,
                         nn.Conv2d(32, 3, 9, padding=4))


def m5() -> nn.Module:
    """Dai et al. 2017, on raw sound [N, 1, 8000]."""
    layers, width = [], 1
    for index, b in enumerate((32, 32, 64, 64)):
        kernel, stride = (3, 1) if index else (80, 16)
        layers += [nn.Conv1d(width, b, kernel, stride), nn.BatchNorm1d(b), nn.ReLU(), nn.MaxPool1d(4)]
        width = b
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 35))


# Constructor and the shape of one input.
OWN = {
    "unet_transposed": (lambda: UNet("transposed"), (3, 64, 96)),
    "unet_halves": (lambda: UNet("halves"), (3, 64, 96)),
    "unet_corners": (lambda: UNet("corners"), (3, 64, 96)),
    "dcgan": (dcgan, (100, 1, 1)),
    "pggan": (pggan, (64, 1, 1)),
    "biggan": (biggan, (32,)),
    "cyclegan": (cyclegan, (3, 64, 64)),
    "srgan": (srgan, (3, 24, 32)),
    "m5": (m5, (1, 8000)),
}
# The newer exporter writes a bias that onnxruntime refuses.
OLD_EXPORTER_ONLY = {"r3d_18"}
ALL = TORCHVISION + [f"timm.{name}" for name in TIMM] + list(OWN)


class FirstOutput(nn.Module):
    """A segmentation network without the dictionary round its output."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)["out"]


def create(name: str, **options) -> tuple[nn.Module, tuple[int, ...]]:
    """A network with its own initial weights, and the shape of one input; `options` for torchvision's or timm's
    constructor."""
    if name in OWN:
        make, shape = OWN[name]
        return make(), shape
    if name.startswith("timm."):
        import timm

        network = timm.create_model(name.removeprefix("timm."), pretrained=False, **options)
        return network, network.default_cfg["input_size"]
    if name == "r3d_18":
        return models.video.r3d_18(weights=None), (3, 8, 56, 56)
    if hasattr(segmentation, name):
        network = getattr(segmentation, name)(weights=None, weights_backbone=None, **options)
        return FirstOutput(network), (3, 128, 160)
    return models.get_model(name, weights=None, **options), (3, 224, 224)


def randomize(network: nn.Module) -> None:
    """Random scales of BatchNorms; matrices of zeros and layer scales near 0, with which a block would do nothing,
    random numbers."""
    with torch.no_grad():
        for norm in network.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.affine:
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.normal_(norm.bias, std=0.1)
        for parameter in network.parameters():
            if parameter.dim() >= 2 and not parameter.any():
                nn.init.normal_(parameter, std=0.05)
            elif parameter.dim() < 4 and 0 < parameter.abs().max() < 1e-3:
                nn.init.uniform_(parameter, 0.1, 0.5)


def seed(name: str, number: int = 1) -> tuple[nn.Module, torch.Tensor]:
    """A network in evaluation mode with the weights of `randomize` and statistics from one pass, and an example of
    two inputs."""
    torch.manual_seed(number)
    network, shape = create(name)
    randomize(network)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        if norms:
            network.eval()
            for norm in norms:
                norm.train()
                norm.momentum = 1.0
            pictures = zoo.smooth_pictures(shape[-1])
            fits = len(shape) == 3 and shape[0] == 3
            network(nn.functional.interpolate(pictures, shape[1:]) if fits else torch.randn(8, *shape))
    return network.eval(), torch.from_numpy(unlike(name, shape)[:2].copy())


def unlike(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Four unlike inputs: pictures where the network takes such, else random numbers of unlike size."""
    # Instance norm of a picture of one color divides rounding errors by themselves.
    if len(shape) == 3 and shape[0] == 3 and shape[1] == shape[2] and not name.startswith("cyclegan"):
        # White noise, which no such network sees, is chaotic with seeded weights: PyTorch's float32 LeViT is then off
        # its own float64 by half of the spread. Large spots are not.
        pictures = inputs.unlike(shape[1])
        torch.manual_seed(1)
        pictures[3] = zoo.smooth_pictures(shape[1])[3]
        return pictures
    random = np.random.RandomState(1).standard_normal((4, *shape)).astype(np.float32)
    scales = np.array([0.5, 1, 1.5, 2], np.float32).reshape(4, *[1] * len(shape))
    return random * scales
