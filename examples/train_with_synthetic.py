"""Train a small classifier on drawn faces and synthetic ones: python train_with_synthetic.py MODEL

MODEL is a run such as `dcgan train toy --size 32 --batch 32 --kimg 60 --condition glasses --name glasses` makes.
"""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader

from dcgan import GeneratedFaces, RealFaces, mix
from dcgan.data import open_data

made = GeneratedFaces(sys.argv[1], 2000, balance=True)
size, channels = made.generator.config.size, made.generator.config.channels
drawn = open_data("toy", size=size, channels=channels)
few = RealFaces(drawn, made.label_columns, drawn.training_indices[:200])
unseen = RealFaces(drawn, made.label_columns, drawn.held_out_indices)

for name, faces in {"200 real": few, "and 2000 synthetic": mix(few, made, ratio=10), "synthetic only": made}.items():
    torch.manual_seed(0)
    layers = [nn.Conv2d(channels, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten()]
    network = nn.Sequential(*layers, nn.LazyLinear(len(made.label_columns)))
    optimizer = None
    for _ in range(max(1, 4000 // len(faces))):
        for images, labels in DataLoader(faces, batch_size=64, shuffle=True):
            loss = nn.functional.binary_cross_entropy_with_logits(network(images), labels)
            optimizer = optimizer or torch.optim.Adam(network.parameters(), 1e-3)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    images, labels = map(torch.stack, zip(*unseen.__getitems__(range(len(unseen))), strict=True))
    print(f"{name}: {((network(images) > 0) == (labels > 0.5)).float().mean():.1%} right")
