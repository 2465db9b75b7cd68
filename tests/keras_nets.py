"""Small Keras models of the kinds that people have, by name, and their TFLite files."""

# ruff: noqa: N812 -- L are the layers, as in Keras's own guides

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

NETS: dict[str, Callable[[Any], Any]] = {}


def net(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    NETS[make.__name__] = make
    return make


def build(name: str, seed: int = 0) -> Any:
    """A model with static shapes, a batch of 1, and weights that are not their initial ones."""
    import keras

    keras.utils.set_random_seed(seed)
    model = NETS[name](keras)
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if "variance" in weight.path:
            weight.assign(random.uniform(0.5, 2, weight.shape))
        elif "seed" not in weight.path and "normalization" in weight.path:
            weight.assign(random.normal("gamma" in weight.path, 0.3, weight.shape))
        elif "bias" in weight.path:
            weight.assign(random.normal(0, 0.2, weight.shape))
    return model


def samples(model: Any, count: int = 16, seed: int = 1) -> list[np.ndarray]:
    """For each input random numbers, or indices below 10 where it takes integers."""
    random = np.random.default_rng(seed)
    return [
        random.integers(0, 10, (count, *tensor.shape[1:])).astype(np.int32)
        if tensor.dtype == "int32"
        else random.normal(size=(count, *tensor.shape[1:])).astype(np.float32)
        for tensor in model.inputs
    ]


def float_tflite(model: Any) -> bytes:
    """As TensorFlow's converter writes it."""
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_keras_model(model).convert()


def int8_tflite(model: Any, arrays: list[np.ndarray]) -> bytes:
    """As TensorFlow's converter writes it, with inputs and outputs in int8 where they are real."""
    import tensorflow as tf

    def representative() -> Iterator[list[np.ndarray]]:
        for index in range(len(arrays[0])):
            yield [array[index : index + 1] for array in arrays]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if all(tensor.dtype == "float32" for tensor in model.inputs):
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    return converter.convert()


def _sequential(keras: Any, *layers: Any, shape: tuple[int, ...] = (8, 8, 3)) -> Any:
    return keras.Sequential([keras.Input(shape, batch_size=1), *layers])


@net
def conv1d(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(
        keras,
        L.Conv1D(6, 3, strides=2, padding="same", activation="relu"),
        L.MaxPooling1D(2),
        L.Conv1D(8, 3, padding="causal", dilation_rate=2),
        L.BatchNormalization(),
        L.ReLU(),
        L.GlobalAveragePooling1D(),
        L.Dense(4, activation="softmax"),
        shape=(32, 3),
    )


@net
def separable1d(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(
        keras,
        L.ZeroPadding1D(2),
        L.SeparableConv1D(6, 3, depth_multiplier=2, activation="relu"),
        L.AveragePooling1D(2),
        L.UpSampling1D(2),
        L.Cropping1D(1),
        L.DepthwiseConv1D(3, depth_multiplier=2),
        L.GlobalMaxPooling1D(),
        L.Dense(3),
        shape=(20, 3),
    )


@net
def transposed(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(
        keras,
        L.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
        L.Conv2DTranspose(5, 3, strides=2, padding="same", activation="relu"),
        L.Conv2DTranspose(2, 3, padding="valid"),
    )


@net
def transposed1d(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(
        keras, L.Conv1D(4, 3), L.Conv1DTranspose(3, 4, strides=2, padding="same"), shape=(16, 2)
    )


@net
def upsampling(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(
        keras,
        L.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        L.UpSampling2D(2),
        L.Conv2D(4, 3, padding="same"),
        L.UpSampling2D(2, interpolation="bilinear"),
        L.Conv2D(1, 1, activation="sigmoid"),
    )


@net
def resizing(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(
        keras, L.Resizing(5, 12), L.Conv2D(4, 3), L.Resizing(7, 7, interpolation="nearest")
    )


@net
def unet(keras: Any) -> Any:
    from keras import layers as L

    source = keras.Input((16, 16, 1), batch_size=1)
    top = L.Conv2D(4, 3, padding="same", activation="relu")(source)
    low = L.Conv2D(8, 3, padding="same", activation="relu")(L.MaxPooling2D()(top))
    up = L.Concatenate()([L.Conv2DTranspose(4, 2, strides=2)(low), top])
    hidden = L.Conv2D(4, 3, padding="same", activation="relu")(up)
    return keras.Model(source, L.Conv2D(1, 1, activation="sigmoid")(hidden))


def _activation(name: str) -> None:
    def make(keras: Any) -> Any:
        from keras import layers as L

        activation = (
            (lambda x: keras.activations.gelu(x, approximate=True)) if name == "gelu_tanh" else name
        )
        return _sequential(keras, L.Conv2D(4, 3), L.Activation(activation), L.Flatten(), L.Dense(3))

    NETS[f"activation_{name}"] = make


for _name in (
    "gelu", "gelu_tanh", "silu", "mish", "elu", "selu", "softplus", "softsign", "hard_sigmoid",
    "hard_silu", "relu6", "tanh", "sigmoid", "exponential", "leaky_relu", "log_softmax", "softmax",
    "hard_tanh", "celu", "squareplus", "soft_shrink",
):  # fmt: skip
    _activation(_name)


@net
def prelu(keras: Any) -> Any:
    from keras import layers as L

    def slopes(axes: list[int] | None) -> Any:
        return L.PReLU(shared_axes=axes, alpha_initializer=keras.initializers.RandomUniform(-1, 1))

    return _sequential(
        keras, L.Conv2D(4, 3), slopes([1, 2]), L.Flatten(), L.Dense(5), slopes(None), L.Dense(3)
    )


@net
def normalizations(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(
        keras,
        L.Conv2D(8, 3),
        L.GroupNormalization(2),
        L.ReLU(),
        L.Conv2D(6, 3),
        L.LayerNormalization(),
        L.GlobalAveragePooling2D(),
        L.Dense(4),
        L.UnitNormalization(),
    )


@net
def rms_normalization(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(keras, L.Dense(6), L.RMSNormalization(), L.Dense(3), shape=(5, 4))


@net
def adapted(keras: Any) -> Any:
    """Normalization with means and variances of its own in front."""
    from keras import layers as L

    scaling = L.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 2.0])
    return _sequential(keras, scaling, L.Rescaling(0.5, offset=0.25), L.Flatten(), L.Dense(4))


@net
def attention(keras: Any) -> Any:
    from keras import layers as L

    source = keras.Input((6, 8), batch_size=1)
    hidden = L.LayerNormalization()(source)
    hidden = L.Add()([source, L.MultiHeadAttention(2, 4)(hidden, hidden)])
    feed = L.Dense(8)(L.Dense(16, activation="gelu")(L.LayerNormalization()(hidden)))
    hidden = L.Add()([hidden, feed])
    return keras.Model(source, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(hidden)))


@net
def dot_attention(keras: Any) -> Any:
    from keras import layers as L

    source = keras.Input((6, 8), batch_size=1)
    query, value = L.Dense(4)(source), L.Dense(4)(source)
    return keras.Model(source, L.Flatten()(L.Attention(use_scale=True)([query, value])))


@net
def embedding(keras: Any) -> Any:
    from keras import layers as L

    source = keras.Input((6,), batch_size=1, dtype="int32")
    hidden = L.Conv1D(8, 3, activation="relu")(L.Embedding(10, 4)(source))
    return keras.Model(source, L.Dense(2, activation="softmax")(L.GlobalMaxPooling1D()(hidden)))


@net
def transformer(keras: Any) -> Any:
    """Tokens and positions."""
    from keras import layers as L

    source = keras.Input((6,), batch_size=1, dtype="int32")
    positions = L.Embedding(6, 8)(keras.ops.arange(6))
    hidden = L.Embedding(10, 8)(source) + positions
    hidden = L.LayerNormalization()(hidden + L.MultiHeadAttention(2, 4)(hidden, hidden))
    return keras.Model(source, L.Dense(2)(hidden[:, 0]))


def _recurrent(kind: str, **options: Any) -> None:
    def make(keras: Any) -> Any:
        from keras import layers as L

        wrap = L.Bidirectional if options.get("both") else lambda layer: layer
        more = {key: value for key, value in options.items() if key != "both"}
        return _sequential(keras, wrap(getattr(L, kind)(5, **more)), L.Dense(3), shape=(7, 4))

    NETS["_".join([kind.lower(), *options])] = make


_recurrent("LSTM")
_recurrent("LSTM", unroll=True)
_recurrent("LSTM", return_sequences=True)
_recurrent("GRU")
_recurrent("GRU", unroll=True)
_recurrent("SimpleRNN")
_recurrent("LSTM", both=True)


@net
def masked_sequences(keras: Any) -> Any:
    from keras import layers as L

    both = L.Bidirectional(L.GRU(3, return_sequences=True))
    layers = [L.Masking(0.0), both, L.LSTM(4), L.Dense(2)]
    return _sequential(keras, *layers, shape=(5, 3))


@net
def convlstm(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(keras, L.ConvLSTM2D(3, 3), L.Flatten(), L.Dense(2), shape=(3, 6, 6, 2))


@net
def time_distributed(keras: Any) -> Any:
    from keras import layers as L

    inner = keras.Sequential([L.Conv2D(3, 3, activation="relu"), L.GlobalMaxPooling2D()])
    return _sequential(keras, L.TimeDistributed(inner), L.Flatten(), L.Dense(2), shape=(3, 6, 6, 2))


@net
def movement(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(
        keras,
        L.ZeroPadding2D(((1, 2), (0, 1))),
        L.Cropping2D(((0, 1), (1, 1))),
        L.Permute((3, 1, 2)),
        L.Reshape((3, -1)),
        L.Dense(4),
        L.Flatten(),
        L.RepeatVector(3),
        L.Dense(2),
    )


@net
def siamese(keras: Any) -> Any:
    """Two inputs, one tower, their distance and their cosine."""
    from keras import layers as L

    first, second = (keras.Input((8, 8, 1), batch_size=1, name=name) for name in ("a", "b"))
    tower = keras.Sequential([L.Conv2D(4, 3, activation="relu"), L.Flatten(), L.Dense(6)])
    left, right = tower(first), tower(second)
    distance = keras.ops.sqrt(keras.ops.sum(keras.ops.square(left - right), -1, keepdims=True))
    return keras.Model([first, second], [distance, L.Dot(1, normalize=True)([left, right])])


@net
def merging(keras: Any) -> Any:
    from keras import layers as L

    source = keras.Input((8,), batch_size=1)
    left, right = L.Dense(4)(source), L.Dense(4, activation="tanh")(source)
    merged = [
        kind()([left, right])
        for kind in (L.Maximum, L.Minimum, L.Average, L.Multiply, L.Subtract, L.Add)
    ]
    return keras.Model(source, L.Dense(2)(L.Concatenate()(merged)))


def _squeeze_excite(keras: Any, hidden: Any, activation: str = "relu") -> Any:
    from keras import layers as L

    pooled = L.GlobalAveragePooling2D(keepdims=True)(hidden)
    pooled = L.Conv2D(2, 1, activation=activation)(pooled)
    gate = L.Conv2D(hidden.shape[-1], 1, activation="sigmoid")(pooled)
    return L.Multiply()([hidden, gate])


@net
def efficientnet(keras: Any) -> Any:
    """An inverted residual block with squeeze and excitation."""
    from keras import layers as L

    source = keras.Input((12, 12, 3), batch_size=1)
    hidden = L.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(L.Rescaling(0.5)(source))
    skip = hidden = L.Activation("silu")(L.BatchNormalization()(hidden))
    hidden = L.Activation("silu")(L.BatchNormalization()(L.Conv2D(8, 1, use_bias=False)(hidden)))
    hidden = L.DepthwiseConv2D(3, padding="same", use_bias=False)(hidden)
    hidden = L.Activation("silu")(L.BatchNormalization()(hidden))
    hidden = _squeeze_excite(keras, hidden, "silu")
    hidden = L.Add()([skip, L.BatchNormalization()(L.Conv2D(4, 1, use_bias=False)(hidden))])
    return keras.Model(source, L.Dense(3, activation="softmax")(L.GlobalAveragePooling2D()(hidden)))


@net
def mobilenet3(keras: Any) -> Any:
    from keras import layers as L

    source = keras.Input((12, 12, 3), batch_size=1)
    hidden = L.Activation("hard_silu")(L.Conv2D(4, 3, strides=2, padding="same")(source))
    hidden = L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)(hidden)
    hidden = _squeeze_excite(keras, L.ReLU(6.0)(L.BatchNormalization()(hidden)))
    return keras.Model(source, L.Dense(3)(L.Flatten()(hidden)))


@net
def dilated(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(
        keras,
        L.Conv2D(4, 3, dilation_rate=2, padding="same", activation="relu"),
        L.DepthwiseConv2D(3, dilation_rate=2, padding="same"),
        L.SeparableConv2D(3, 3, dilation_rate=2),
        shape=(16, 16, 2),
    )


@net
def groups(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(keras, L.Conv2D(6, 3, groups=3, activation="relu"), L.GlobalMaxPooling2D())


@net
def autoencoder(keras: Any) -> Any:
    from keras import layers as L

    return _sequential(
        keras, L.Dense(8, activation="elu"), L.Dense(3), L.Dense(8, activation="elu"), L.Dense(16),
        shape=(16,),
    )  # fmt: skip


@net
def mixer(keras: Any) -> Any:
    """Patches, mixed along both axes."""
    from keras import layers as L

    source = keras.Input((8, 8, 3), batch_size=1)
    tokens = L.Reshape((16, 6))(L.Conv2D(6, 2, strides=2)(source))
    mixed = L.Permute((2, 1))(L.Dense(16, activation="gelu")(L.Permute((2, 1))(tokens)))
    hidden = L.LayerNormalization()(L.Add()([tokens, mixed]))
    return keras.Model(source, L.Dense(3)(L.GlobalAveragePooling1D()(hidden)))


@net
def numeric(keras: Any) -> Any:
    """Functions of `keras.ops` as people write them."""
    source = keras.Input((4, 6), batch_size=1)
    ops = keras.ops
    positive = ops.abs(source) + 0.5
    parts = [
        *ops.split(source, 2, axis=-1),
        *ops.split(ops.log(positive), [2], axis=-1),
        ops.exp(-positive) / positive,
        ops.rsqrt(positive),
        ops.power(positive, 1.5),
        ops.clip(source, -0.5, 0.5),
        ops.where(source > 0, source, positive),
        ops.max(source, axis=-1, keepdims=True),
        ops.min(source, axis=-1, keepdims=True),
        ops.sum(source, axis=-1, keepdims=True),
        ops.mean(source, axis=-1, keepdims=True),
        ops.cumsum(source, axis=-1),
        ops.tile(source, (1, 1, 2)),
        ops.pad(source, ((0, 0), (0, 0), (2, 1)), mode="reflect"),
        ops.take(source, [2, 0, 3], axis=-1),
        ops.sin(source),
        ops.floor(source),
    ]
    stacked = ops.stack([source, positive], axis=1)
    outputs = [
        ops.concatenate(parts, axis=-1),
        ops.einsum("bij,bkj->bik", source, positive),
        ops.sum(stacked, axis=1),
    ]
    return keras.Model(source, outputs)


@net
def pixel_shuffle(keras: Any) -> Any:
    """Depth to space and back, with TensorFlow's own functions."""
    import tensorflow as tf
    from keras import layers as L

    return _sequential(
        keras,
        L.Lambda(lambda x: tf.nn.space_to_depth(x, 2)),
        L.Conv2D(8, 3, padding="same", activation="relu"),
        L.Lambda(lambda x: tf.nn.depth_to_space(x, 2)),
    )


@net
def masked(keras: Any) -> Any:
    """A causal attention."""
    from keras import layers as L

    source = keras.Input((5, 4), batch_size=1)
    hidden = L.MultiHeadAttention(2, 4)(source, source, use_causal_mask=True)
    return keras.Model(source, L.Dense(2)(hidden))
