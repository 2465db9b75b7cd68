"""Models as users build them: Keras's examples and applications, exports of PyTorch, files.

A builder takes an empty folder and gives the model's path and that of its samples, or a data set's
name. Some are trained for some seconds, others keep random weights with statistics as trained ones
have.
"""

# ruff: noqa: N806 -- L are the layers, as in Keras's own guides

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgegolf.data import load_dataset
from edgegolf.ir.tensor import Array

Built = tuple[Path, Path]
ROOT = Path(__file__).parent.parent
TORCH = ROOT / "tests" / "cases" / "torch"

MODELS: dict[str, Callable[[Path], Built]] = {}


def user(build: Callable[[Path], Built]) -> Callable[[Path], Built]:
    MODELS[build.__name__] = build
    return build


def _keras() -> tuple[Any, Any]:
    import keras

    keras.utils.set_random_seed(0)
    return keras, keras.layers


def _lived(model: Any) -> Any:
    """Random weights as if trained: normalizations and biases are not what they began with."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        if "variance" in weight.path and "normalization" in weight.path:
            weight.assign(random.uniform(0.5, 2, weight.shape))
        elif "moving_mean" in weight.path or "bias" in weight.path:
            weight.assign(random.normal(0, 0.1, weight.shape))
        elif "gamma" in weight.path:
            weight.assign(random.normal(1, 0.2, weight.shape))
    return model


def _saved(folder: Path, model: Any, name: str = "model.keras", **arrays: Array) -> Built:
    model.save(folder / name)
    np.savez(folder / "samples.npz", **arrays)
    return folder / name, folder / "samples.npz"


def smooth(*shape: int, seed: int = 0, low: float = 0, high: float = 1) -> Array:
    """Samples whose neighbours are alike, as pixels and sensors are, float32."""
    random = np.random.default_rng(seed)
    values = random.normal(size=shape)
    for axis in range(1, max(2, len(shape) - 1)):
        for _ in range(2):
            values = values + np.roll(values, 1, axis)
    values = (values - values.min()) / (values.max() - values.min())
    return (low + (high - low) * values).astype(np.float32)


def _pixels(dataset: str, count: int = 3000) -> tuple[Array, Array]:
    if dataset == "photos":
        return _photos(count)
    split = load_dataset(dataset).split("train")
    images = split.images if split.images.ndim == 4 else split.images[..., None]
    return images[:count], split.labels[:count]


def _photos(count: int) -> tuple[Array, Array]:
    """Pixels of images of ten classes of colours, which need no download, and their classes."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, count)
    colours = random.uniform(0, 1, (10, 1, 1, 3))
    images = 0.4 * colours[labels] + 0.6 * smooth(count, 32, 32, 3, seed=1)
    return (255 * images).astype(np.uint8), labels


def _fit(model: Any, x: Any, y: Any, loss: Any, epochs: int = 2) -> Any:
    model.compile("adam", loss)
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    return model


def _sequential(*layers: Any, shape: Sequence[int | None], **options: Any) -> Any:
    keras, _ = _keras()
    return keras.Sequential([keras.Input(tuple(shape)), *layers], **options)


def _classifier(folder: Path, model: Any, dataset: str, name: str = "model.keras") -> Built:
    images, labels = _pixels(dataset)
    epochs = 6 if dataset == "photos" else 2
    _fit(model, images / np.float32(255), labels, "sparse_categorical_crossentropy", epochs)
    return _saved(folder, model, name, image=images[:1000], labels=labels[:1000])


def _mnist_layers(activation: str = "relu") -> list[Any]:
    _, L = _keras()
    return [
        L.Conv2D(16, 3, activation=activation),
        L.MaxPooling2D(),
        L.Conv2D(24, 3, activation=activation),
        L.MaxPooling2D(),
        L.Flatten(),
        L.Dropout(0.5),
        L.Dense(10, activation="softmax"),
    ]


# --------------------------------------------------------------------------------------- images


@user
def mnist_convnet(folder: Path) -> Built:
    """Of keras.io/examples."""
    return _classifier(folder, _sequential(*_mnist_layers(), shape=(28, 28, 1)), "mnist")


@user
def mnist_gelu(folder: Path) -> Built:
    return _classifier(folder, _sequential(*_mnist_layers("gelu"), shape=(28, 28, 1)), "mnist")


@user
def mnist_hard_swish(folder: Path) -> Built:
    layers = _mnist_layers("hard_silu")
    return _classifier(folder, _sequential(*layers, shape=(28, 28, 1)), "mnist")


@user
def mnist_rescaling(folder: Path) -> Built:
    """It takes 0…255."""
    _, L = _keras()
    model = _sequential(L.Rescaling(1 / 255), *_mnist_layers(), shape=(28, 28, 1))
    images, labels = _pixels("mnist")
    _fit(model, images.astype(np.float32), labels, "sparse_categorical_crossentropy")
    return _saved(folder, model, image=images[:1000], labels=labels[:1000])


@user
def mnist_mlp(folder: Path) -> Built:
    _, L = _keras()
    layers = [L.Flatten(), L.Dense(64, activation="relu"), L.Dense(10, activation="softmax")]
    return _classifier(folder, _sequential(*layers, shape=(28, 28)), "mnist")


@user
def mnist_h5(folder: Path) -> Built:
    model = _sequential(*_mnist_layers(), shape=(28, 28, 1))
    return _classifier(folder, model, "mnist", "model.h5")


@user
def mnist_mixed_float16(folder: Path) -> Built:
    keras, _ = _keras()
    keras.mixed_precision.set_global_policy("mixed_float16")
    return _classifier(folder, _sequential(*_mnist_layers(), shape=(28, 28, 1)), "mnist")


@user
def names_with_spaces_and_cjk(folder: Path) -> Built:
    keras, L = _keras()
    source = keras.Input((28, 28, 1), name="my 画像")
    hidden = L.Conv2D(8, 3, strides=2, activation="relu", name="first conv")(source)
    scores = L.Dense(10, activation="softmax", name="分類")(L.Flatten()(hidden))
    model = _lived(keras.Model(source, scores, name="模型"))  # which another backend can train
    return _saved(folder, model, image=_pixels("mnist")[0][:1000] / np.float32(255))


@user
def photos_batchnorm(folder: Path) -> Built:
    _, L = _keras()
    layers = []
    for width in (16, 32, 48):
        layers += [L.Conv2D(width, 3, padding="same", use_bias=False), L.BatchNormalization()]
        layers += [L.ReLU(), L.MaxPooling2D()]
    layers += [L.GlobalAveragePooling2D(), L.Dense(10, activation="softmax")]
    return _classifier(folder, _sequential(*layers, shape=(32, 32, 3)), "photos")


@user
def photos_resnet(folder: Path) -> Built:
    keras, L = _keras()
    source = keras.Input((32, 32, 3))
    hidden = L.Conv2D(16, 3, strides=2, padding="same")(source)
    for _ in range(3):
        inner = L.ReLU()(L.BatchNormalization()(L.Conv2D(16, 3, padding="same")(hidden)))
        inner = L.BatchNormalization()(L.Conv2D(16, 3, padding="same")(inner))
        hidden = L.ReLU()(L.Add()([hidden, inner]))
    scores = L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(hidden))
    return _classifier(folder, keras.Model(source, scores), "photos")


@user
def photos_densenet(folder: Path) -> Built:
    keras, L = _keras()
    source = hidden = keras.Input((32, 32, 3))
    for stage in range(2):
        for _ in range(3):
            inner = L.ReLU()(L.BatchNormalization()(hidden))
            hidden = L.Concatenate()([hidden, L.Conv2D(8, 3, padding="same")(inner)])
        hidden = L.AveragePooling2D(2)(L.Conv2D(16 + 8 * stage, 1)(hidden))
    scores = L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(hidden))
    return _classifier(folder, keras.Model(source, scores), "photos")


@user
def photos_shared_block(folder: Path) -> Built:
    """One block of layers, applied four times."""
    keras, L = _keras()
    source = keras.Input((32, 32, 3))
    depthwise = L.DepthwiseConv2D(3, padding="same", use_bias=False)
    pointwise = L.Conv2D(16, 1)
    hidden = L.Conv2D(16, 5, strides=2, padding="same")(source)
    for _ in range(4):
        hidden = L.Add()([hidden, pointwise(depthwise(L.ReLU()(hidden)))])
    scores = L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(L.ReLU()(hidden)))
    return _classifier(folder, keras.Model(source, scores), "photos")


def _application(folder: Path, make: str, size: int = 64, **options: Any) -> Built:
    keras, _ = _keras()
    shape = (size, size, 3)
    made = getattr(keras.applications, make)(
        input_shape=shape, weights=None, classes=10, include_top=True, **options
    )
    return _saved(folder, _lived(made), image=smooth(200, *shape))


@user
def mobilenet(folder: Path) -> Built:
    return _application(folder, "MobileNet", alpha=0.25)


@user
def mobilenet_v2(folder: Path) -> Built:
    return _application(folder, "MobileNetV2", alpha=0.35)


@user
def mobilenet_v3(folder: Path) -> Built:
    return _application(
        folder, "MobileNetV3Small", alpha=0.5, include_preprocessing=False, minimalistic=False
    )


@user
def efficientnet_blocks(folder: Path) -> Built:
    """Inverted residual blocks with squeeze and excitation."""
    keras, L = _keras()
    source = keras.Input((32, 32, 3))
    hidden = L.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(source)
    hidden = L.Activation("silu")(L.BatchNormalization()(hidden))
    for strides in (1, 2, 1):
        skip = hidden
        inner = L.Conv2D(24, 1, use_bias=False)(hidden)
        inner = L.Activation("silu")(L.BatchNormalization()(inner))
        inner = L.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(inner)
        inner = L.Activation("silu")(L.BatchNormalization()(inner))
        pooled = L.GlobalAveragePooling2D(keepdims=True)(inner)
        gate = L.Conv2D(24, 1, activation="sigmoid")(L.Conv2D(4, 1, activation="silu")(pooled))
        inner = L.BatchNormalization()(L.Conv2D(8, 1, use_bias=False)(L.Multiply()([inner, gate])))
        hidden = L.Add()([skip, inner]) if strides == 1 else inner
    scores = L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(hidden))
    return _classifier(folder, keras.Model(source, scores), "photos")


@user
def unet(folder: Path) -> Built:
    keras, L = _keras()
    source = keras.Input((32, 32, 1))
    top = L.Conv2D(8, 3, padding="same", activation="relu")(source)
    low = L.Conv2D(16, 3, padding="same", activation="relu")(L.MaxPooling2D()(top))
    up = L.Concatenate()([L.Conv2DTranspose(8, 2, strides=2)(low), top])
    hidden = L.Conv2D(8, 3, padding="same", activation="relu")(up)
    model = keras.Model(source, L.Conv2D(1, 1, activation="sigmoid")(hidden))
    images = smooth(400, 32, 32, 1)
    _fit(model, images, (images > 0.5).astype(np.float32), "binary_crossentropy", 4)
    return _saved(folder, model, image=images)


@user
def conv_autoencoder(folder: Path) -> Built:
    _, L = _keras()
    model = _sequential(
        L.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
        L.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        L.UpSampling2D(),
        L.Conv2D(8, 3, padding="same", activation="relu"),
        L.UpSampling2D(),
        L.Conv2D(1, 3, padding="same", activation="sigmoid"),
        shape=(28, 28, 1),
    )
    images, _ = _pixels("mnist")
    scaled = images / np.float32(255)
    _fit(model, scaled, scaled, "binary_crossentropy")
    return _saved(folder, model, image=images[:500])


@user
def generator(folder: Path) -> Built:
    """Of a GAN."""
    _, L = _keras()
    layers = [L.Dense(7 * 7 * 16), L.LeakyReLU(0.2), L.Reshape((7, 7, 16))]
    layers += [L.Conv2DTranspose(16, 4, strides=2, padding="same"), L.LeakyReLU(0.2)]
    layers += [L.Conv2DTranspose(8, 4, strides=2, padding="same"), L.LeakyReLU(0.2)]
    layers += [L.Conv2D(1, 5, padding="same", activation="tanh")]
    noise = np.random.default_rng(0).normal(size=(400, 24)).astype(np.float32)
    return _saved(folder, _lived(_sequential(*layers, shape=(24,))), noise=noise)


@user
def heatmaps_of_any_size(folder: Path) -> Built:
    """Keypoints of images whose size is open."""
    _, L = _keras()
    layers = [L.Conv2D(12, 3, padding="same", activation="relu"), L.SeparableConv2D(12, 3)]
    model = _sequential(*layers, L.PReLU(shared_axes=[1, 2]), L.Conv2D(4, 1), shape=(None, None, 3))
    return _saved(folder, _lived(model), image=smooth(300, 24, 24, 3))


@user
def vision_transformer(folder: Path) -> Built:
    keras, L = _keras()
    source = keras.Input((28, 28, 1))
    hidden = L.Reshape((16, 24))(L.Conv2D(24, 7, strides=7)(source))
    hidden = hidden + L.Embedding(16, 24)(keras.ops.arange(16))
    for _ in range(2):
        normal = L.LayerNormalization()(hidden)
        hidden = hidden + L.MultiHeadAttention(2, 12)(normal, normal)
        inner = L.Dense(48, activation="gelu")(L.LayerNormalization()(hidden))
        hidden = hidden + L.Dense(24)(inner)
    pooled = L.GlobalAveragePooling1D()(L.LayerNormalization()(hidden))
    model = keras.Model(source, L.Dense(10, activation="softmax")(pooled))
    return _classifier(folder, model, "mnist")


# -------------------------------------------------------------------------------- time and text


@user
def audio_waveform(folder: Path) -> Built:
    _, L = _keras()
    layers = []
    for width in (8, 16, 24):
        layers += [L.Conv1D(width, 9, strides=4, padding="same"), L.BatchNormalization(), L.ReLU()]
    layers += [L.GlobalAveragePooling1D(), L.Dense(6, activation="softmax")]
    model = _lived(_sequential(*layers, shape=(2000, 1)))
    return _saved(folder, model, wave=smooth(300, 2000, 1, low=-1))


@user
def audio_spectrogram(folder: Path) -> Built:
    """A depthwise separable net for keywords."""
    _, L = _keras()
    layers = [L.Conv2D(16, (10, 4), strides=2, padding="same"), L.BatchNormalization(), L.ReLU()]
    for _ in range(3):
        layers += [L.DepthwiseConv2D(3, padding="same"), L.BatchNormalization(), L.ReLU()]
        layers += [L.Conv2D(16, 1), L.BatchNormalization(), L.ReLU()]
    layers += [L.Dropout(0.2), L.GlobalAveragePooling2D(), L.Dense(12, activation="softmax")]
    model = _lived(_sequential(*layers, shape=(49, 10, 1)))
    return _saved(folder, model, mfcc=smooth(300, 49, 10, 1, low=-3, high=3))


@user
def wavenet(folder: Path) -> Built:
    keras, L = _keras()
    source = keras.Input((64, 2))
    hidden = L.Conv1D(12, 1)(source)
    for rate in (1, 2, 4):
        gated = L.Multiply()(
            [
                L.Conv1D(12, 2, padding="causal", dilation_rate=rate, activation=activation)(hidden)
                for activation in ("tanh", "sigmoid")
            ]
        )
        hidden = L.Add()([hidden, L.Conv1D(12, 1)(gated)])
    model = _lived(keras.Model(source, L.Conv1D(1, 1)(hidden)))
    return _saved(folder, model, series=smooth(300, 64, 2, low=-2, high=2))


def _sensor(folder: Path, *layers: Any) -> Built:
    _, L = _keras()
    series = smooth(500, 24, 6, low=-2, high=2)
    labels = np.digitize(series.mean((1, 2)), np.quantile(series.mean((1, 2)), [0.33, 0.66]))
    model = _sequential(*layers, L.Dense(3, activation="softmax"), shape=(24, 6))
    _fit(model, series, labels, "sparse_categorical_crossentropy", 8)
    return _saved(folder, model, series=series, labels=labels)


@user
def sensor_lstm(folder: Path) -> Built:
    return _sensor(folder, _keras()[1].LSTM(16))


@user
def sensor_gru(folder: Path) -> Built:
    return _sensor(folder, _keras()[1].GRU(16))


@user
def sensor_stacked_lstm(folder: Path) -> Built:
    _, L = _keras()
    return _sensor(folder, L.LSTM(12, return_sequences=True), L.LSTM(8))


@user
def sensor_bidirectional(folder: Path) -> Built:
    _, L = _keras()
    return _sensor(folder, L.Bidirectional(L.LSTM(8)))


@user
def sensor_simple_rnn_unrolled(folder: Path) -> Built:
    return _sensor(folder, _keras()[1].SimpleRNN(16, unroll=True))


@user
def sensor_conv_gru(folder: Path) -> Built:
    _, L = _keras()
    return _sensor(folder, L.Conv1D(12, 5, activation="relu"), L.MaxPooling1D(2), L.GRU(8))


@user
def sensor_masked(folder: Path) -> Built:
    """Both ways over series of other lengths, two layers."""
    _, L = _keras()
    first = L.Bidirectional(L.GRU(8, return_sequences=True))
    return _sensor(folder, L.Masking(0.0), first, L.Bidirectional(L.GRU(6)))


@user
def series_autoencoder(folder: Path) -> Built:
    """From a sequence to one vector and back."""
    _, L = _keras()
    decoder = [L.RepeatVector(10), L.LSTM(8, return_sequences=True), L.TimeDistributed(L.Dense(3))]
    series = smooth(240, 10, 3, low=-2, high=2)
    model = _fit(_sequential(L.LSTM(8), *decoder, shape=(10, 3)), series, series, "mse", 6)
    return _saved(folder, model, series=series)


@user
def time_distributed(folder: Path) -> Built:
    keras, L = _keras()
    inner = keras.Sequential([L.Conv2D(6, 3, activation="relu"), L.GlobalMaxPooling2D()])
    layers = [L.TimeDistributed(inner), L.Flatten(), L.Dense(4, activation="softmax")]
    return _saved(
        folder, _lived(_sequential(*layers, shape=(4, 12, 12, 1))), film=smooth(300, 4, 12, 12, 1)
    )


@user
def series_transformer(folder: Path) -> Built:
    """Time series classification of keras.io/examples."""
    keras, L = _keras()
    source = hidden = keras.Input((32, 8))
    for _ in range(2):
        normal = L.LayerNormalization(epsilon=1e-6)(hidden)
        hidden = L.Add()([hidden, L.Dropout(0.1)(L.MultiHeadAttention(2, 8)(normal, normal))])
        inner = L.Conv1D(16, 1, activation="relu")(L.LayerNormalization(epsilon=1e-6)(hidden))
        hidden = L.Add()([hidden, L.Conv1D(8, 1)(inner)])
    pooled = L.GlobalAveragePooling1D(data_format="channels_last")(hidden)
    model = keras.Model(source, L.Dense(2, activation="softmax")(pooled))
    return _saved(folder, _lived(model), series=smooth(300, 32, 8, low=-2, high=2))


@user
def text_cnn(folder: Path) -> Built:
    keras, L = _keras()
    source = keras.Input((40,), dtype="int32")
    hidden = L.Conv1D(16, 5, activation="relu")(L.Embedding(500, 16)(source))
    model = keras.Model(source, L.Dense(1, activation="sigmoid")(L.GlobalMaxPooling1D()(hidden)))
    words = np.random.default_rng(0).zipf(1.5, (500, 40)).clip(1, 499).astype(np.int32)
    labels = (words.max(1) > np.median(words.max(1))).astype(np.int64)
    _fit(model, words, labels, "binary_crossentropy", 6)
    return _saved(folder, model, words=words, labels=labels)


# ------------------------------------------------------------- numbers, several inputs and outputs


@user
def siamese(folder: Path) -> Built:
    keras, L = _keras()
    left, right = (keras.Input((28, 28, 1), name=name) for name in ("left", "right"))
    layers = [L.Conv2D(8, 3, strides=2, activation="relu"), L.Flatten(), L.Dense(12)]
    tower = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    difference = keras.ops.abs(tower(left) - tower(right))
    model = keras.Model([left, right], L.Dense(1, activation="sigmoid")(difference))
    images, labels = _pixels("mnist", 1200)
    a, b = images[::2] / np.float32(255), images[1::2] / np.float32(255)
    same = (labels[::2] == labels[1::2]).astype(np.int64)
    _fit(model, [a, b], same, "binary_crossentropy")
    return _saved(folder, model, left=a, right=b, labels=same)


@user
def image_and_table(folder: Path) -> Built:
    keras, L = _keras()
    image, table = keras.Input((16, 16, 3), name="image"), keras.Input((5,), name="table")
    seen = L.GlobalAveragePooling2D()(L.Conv2D(12, 3, activation="relu")(image))
    both = L.Concatenate()([seen, L.Dense(8, activation="relu")(table)])
    model = _lived(keras.Model([image, table], L.Dense(1, name="price")(both)))
    return _saved(
        folder, model, image=smooth(400, 16, 16, 3), table=smooth(400, 5, low=-1, high=9, seed=1)
    )


def _tabular(width: int = 8) -> tuple[Any, Array]:
    scales = np.logspace(-1, 2, width)
    values = np.random.default_rng(0).normal(1, 1, (600, width)) * scales
    return _keras()[0], values.astype(np.float32)


@user
def normalized_table(folder: Path) -> Built:
    """Houses of keras.io: an adapted Normalization in front, one number out."""
    keras, table = _tabular()
    L = keras.layers
    normalization = L.Normalization()
    normalization.adapt(table)
    layers = [normalization, L.Dense(32, activation="relu"), L.Dense(32, activation="relu")]
    model = _sequential(*layers, L.Dense(1), shape=(8,))
    _fit(model, table, np.sin(table[:, :1]) + table[:, 1:2], "mse", 10)
    return _saved(folder, model, table=table)


@user
def autoencoder(folder: Path) -> Built:
    keras, table = _tabular(16)
    L = keras.layers
    table = (table - table.mean(0)) / table.std(0)
    layers = [L.Dense(12, activation="elu"), L.Dense(6), L.Dense(12, activation="elu"), L.Dense(16)]
    model = _fit(_sequential(*layers, shape=(16,)), table, table, "mse", 20)
    return _saved(folder, model, table=table)


@user
def two_outputs(folder: Path) -> Built:
    keras, table = _tabular()
    L = keras.layers
    source = keras.Input((8,))
    hidden = L.Dense(24, activation="relu")(source)
    model = keras.Model(
        source, [L.Dense(2, name="position")(hidden), L.Dense(1, name="speed")(hidden)]
    )
    return _saved(folder, _lived(model), table=table)


@user
def dict_outputs(folder: Path) -> Built:
    keras, _ = _keras()
    L = keras.layers
    source = keras.Input((16, 16, 3))
    hidden = L.Conv2D(8, 3, strides=2, activation="relu")(source)
    box = L.Dense(4, activation="sigmoid")(L.Flatten()(hidden))
    kind = L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(hidden))
    model = _lived(keras.Model(source, {"kind": kind, "box": box}))
    return _saved(folder, model, image=smooth(400, 16, 16, 3))


@user
def eleven_outputs(folder: Path) -> Built:
    keras, table = _tabular()
    L = keras.layers
    source = keras.Input((8,))
    hidden = L.Dense(16, activation="relu")(source)
    heads = [L.Dense(1 + index % 3, name=f"head{index}")(hidden) for index in range(11)]
    return _saved(folder, _lived(keras.Model(source, heads)), table=table)


@user
def attention_gate(folder: Path) -> Built:
    """Feature-wise gating of a table, with swish."""
    keras, table = _tabular()
    L = keras.layers
    table = (table - table.mean(0)) / table.std(0)
    source = keras.Input((8,))
    gate = L.Dense(8, activation="softmax")(source)
    hidden = L.Dense(16, activation="swish")(L.Multiply()([source, gate]))
    model = keras.Model(source, L.Dense(1)(L.LayerNormalization()(hidden)))
    _fit(model, table, table[:, :1] * table[:, 1:2], "mse", 10)
    return _saved(folder, model, table=table)


# ---------------------------------------------------------------------------------- other files


def _trained_mnist(folder: Path) -> tuple[Any, Path]:
    model = _sequential(*_mnist_layers(), shape=(28, 28, 1))
    _, samples = _classifier(folder, model, "mnist")
    return model, samples


@user
def saved_model(folder: Path) -> Built:
    model, samples = _trained_mnist(folder)
    model.export(folder / "saved", verbose=False)
    return folder / "saved", samples


@user
def float_tflite(folder: Path) -> Built:
    import tensorflow as tf

    model, samples = _trained_mnist(folder)
    path = folder / "float.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return path, samples


@user
def quantized_tflite(folder: Path) -> Built:
    import tensorflow as tf

    model, samples = _trained_mnist(folder)
    images, _ = _pixels("mnist", 100)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None] / np.float32(255)] for x in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    path = folder / "quantized.tflite"
    path.write_bytes(converter.convert())
    return path, samples


@user
def dynamic_range_tflite(folder: Path) -> Built:
    import tensorflow as tf

    model, samples = _trained_mnist(folder)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path = folder / "dynamic.tflite"
    path.write_bytes(converter.convert())
    return path, samples


@user
def tight_resnet(folder: Path) -> Built:
    """The zoo's net with a shared block, as anybody's file with some samples."""
    path = ROOT / "models" / "mnist" / "tight_resnet" / "model.keras"
    images, labels = _pixels("mnist", 1000)
    np.savez(folder / "samples.npz", image=images, labels=labels)
    return Path(shutil.copy(path, folder)), folder / "samples.npz"


def _torch(name: str) -> None:
    def build(folder: Path) -> Built:
        path = Path(shutil.copy(TORCH / f"{name}.onnx", folder))
        return path, Path(shutil.copy(TORCH / "samples.npz", folder))

    MODELS[f"torch_{name}"] = build


for _name in ("cnn", "cnn_torchscript", "residual", "shared", "shared_torchscript"):
    _torch(_name)
