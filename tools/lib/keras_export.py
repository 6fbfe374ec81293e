"""Writes one of Keras's networks with seeded weights as an ONNX file, through tf2onnx: opset 17, images N×96×96×3.

usage: python keras_export.py NAME FILE (in the environment of `tools/venv keras`; NAME as in lib/networks.py)
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tf2onnx  # noqa: E402

SIDE = 96
CLASSES = {
    "keras_mobilenet_v2": "MobileNetV2",
    "keras_mobilenet_v3_small": "MobileNetV3Small",
    "keras_resnet50_v2": "ResNet50V2",
    "keras_densenet121": "DenseNet121",
    "keras_xception": "Xception",
}
# 1 for others; with that onnxruntime is 1.6e-4 from itself without optimizations.
SEEDS = {"keras_mobilenet_v3_small": 2}


def seed(name: str) -> tf.keras.Model:
    """The network, with scales of its normalizations as training would leave them, and the statistics of what they
    see: with those that Keras begins with all pictures get the same answer."""
    chosen = SEEDS.get(name, 1)
    tf.keras.utils.set_random_seed(chosen)
    make = getattr(tf.keras.applications, CLASSES[name])
    network = make(weights=None, input_shape=(SIDE, SIDE, 3), classes=10)
    numbers = np.random.RandomState(chosen)
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the next batch's statistics are kept as they are
            for weight in layer.trainable_weights:
                span = (0.5, 1.5) if weight.name == "gamma" else (-0.2, 0.2)
                weight.assign(numbers.uniform(*span, weight.shape))
    coarse = numbers.normal(size=(16, 12, 12, 3)).astype(np.float32)
    network(tf.image.resize(coarse, (SIDE, SIDE)), training=True)
    return network


network = seed(sys.argv[1])
specification = (tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="input"),)
traced = tf.function(lambda x: network(x, training=False), input_signature=specification)
tf2onnx.convert.from_function(traced, input_signature=specification, opset=17, output_path=sys.argv[2])
