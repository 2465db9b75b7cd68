"""Writes the files beside it: pip install tensorflow-cpu==2.15.1 "numpy<2"."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(0)
random = np.random.default_rng(0)
image = keras.Input((12, 12, 3), name="image")
hidden = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(image)
norm = layers.BatchNormalization()
hidden = layers.ReLU(max_value=6.0)(norm(hidden))
separable = layers.SeparableConv2D(4, 3, padding="same", activation="relu")
hidden = layers.Dropout(0.3)(layers.Add()([hidden, separable(hidden)]))
hidden = layers.GlobalAveragePooling2D()(hidden)
model = keras.Model(image, layers.Dense(5, activation="softmax")(hidden))
norm.set_weights(
    [random.uniform(low, high, 4) for low, high in ((0.5, 1.5), (-1, 1), (-1, 1), (0.5, 2))]
)
model.save("keras215.h5")
model.save("keras215.keras")
images = random.random((2, 12, 12, 3), np.float32)
np.savez_compressed("keras215.npz", image=images, y=model.predict(images))
