"""Small convolutional networks of Keras, by name: functions that make a model."""

from __future__ import annotations

from typing import Any

import keras

layers = keras.layers
NETWORKS: dict[str, Any] = {}
PERMUTING = {"recurrent_end": 1, "shuffles": 1}
"""How many Transposes are left because of layers that permute axes, or of a recurrent one."""

APPLICATIONS = ("MobileNetV2", "MobileNetV3Small", "EfficientNetB0")


def network(*shape, **options):
    """Declare a network by what it makes of one input."""

    def declare(function):
        def make():
            x = layers.Input(shape, **options)
            return keras.Model(x, function(x))

        NETWORKS[function.__name__] = make
        return function

    return declare


def conv(x, filters, size=3, **options):
    return layers.Conv2D(filters, size, padding="same", **options)(x)


@network(32, 32, 3)
def unet(image):
    first = x = conv(image, 8, activation="relu")
    x = conv(layers.MaxPool2D()(x), 16)
    second = x = layers.LeakyReLU()(layers.BatchNormalization()(x))
    x = conv(layers.AveragePooling2D(2)(x), 16, activation="gelu")
    x = layers.Conv2DTranspose(16, 2, strides=2, padding="same")(x)
    x = layers.PReLU(shared_axes=[1, 2])(conv(layers.Concatenate()([x, second]), 8))
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    x = conv(layers.Concatenate()([x, first]), 8, activation="elu")
    return conv(x, 2, 1, activation="softmax")


@network(32, 32, 3)
def unet_nearest(image):
    first = x = conv(image, 8, activation="relu")
    x = conv(layers.MaxPool2D()(x), 16, activation="relu")
    second = x
    x = conv(layers.MaxPool2D()(x), 16, activation="relu")
    x = conv(layers.Concatenate()([layers.UpSampling2D(2)(x), second]), 8, activation="relu")
    x = conv(layers.Concatenate()([layers.UpSampling2D((2, 2))(x), first]), 8)
    return conv(x, 2, 1, activation="sigmoid")


@network(None, None, 3)
def unet_of_any_size(image):
    first = x = conv(image, 8, activation="relu")
    x = conv(layers.MaxPool2D()(x), 16, activation="relu")
    x = layers.UpSampling2D((2, 2))(x)
    return conv(layers.Concatenate()([x, first]), 2)


@network(16, 16, 3)
def upsampling_unequal(image):
    x = conv(image, 8, activation="relu")
    return conv(layers.UpSampling2D((3, 2))(x), 4)


@network(32, 32, 3)
def gates(image):
    x = conv(image, 16, activation="relu")
    for _ in range(2):
        gate = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D()(x))
        gate = layers.Reshape((1, 1, 16))(layers.Dense(16, activation="sigmoid")(gate))
        x = conv(layers.Multiply()([x, gate]), 16, activation="hard_silu")
        gate = layers.GlobalMaxPooling2D(keepdims=True)(x)
        x = layers.Activation("selu")(x * layers.Conv2D(16, 1, activation="sigmoid")(gate))
    return layers.Dense(5)(layers.Flatten()(x))


@network(32, 32, 3)
def gates_keepdims(image):
    x = conv(image, 16, activation="relu")
    for _ in range(2):
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Dense(16, activation="sigmoid")(layers.Dense(4, activation="relu")(gate))
        x = layers.Add()([x, conv(x * gate, 16, activation="silu")])
    return layers.Dense(5)(layers.GlobalAveragePooling2D()(x))


@network(32, 32, 3)
def attention(image):
    x = conv(image, 8, activation="relu")
    for _ in range(2):
        mean = keras.ops.mean(x, axis=-1, keepdims=True)
        most = keras.ops.max(x, axis=-1, keepdims=True)
        x = x * conv(layers.Concatenate()([mean, most]), 1, 7, activation="sigmoid")
        left, right = keras.ops.split(conv(x, 8), 2, axis=-1)
        x = layers.Activation("mish")(layers.Concatenate()([conv(left, 4), right]))
    return layers.Flatten()(conv(x, 4))


@network(64, 6)
def conv1d(x):
    for _ in range(3):
        x = layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    return layers.GlobalMaxPooling1D()(x)


@network(64, 6)
def conv1d_pools(x):
    first = x = layers.Conv1D(8, 5, padding="same", activation="relu")(x)
    x = layers.MaxPooling1D(2)(layers.BatchNormalization()(x))
    x = layers.Conv1D(8, 3, strides=2, padding="same")(x)
    x = layers.AveragePooling1D(2)(layers.PReLU(shared_axes=[1])(x))
    x = layers.UpSampling1D(8)(x)
    x = layers.Concatenate()([x, first])
    x = layers.Conv1D(4, 3, padding="same")(x)
    x = layers.SeparableConv1D(8, 3, padding="same")(x)
    x = layers.DepthwiseConv1D(3, padding="same")(x)
    return layers.Conv1D(2, 1, activation="softmax")(x)


@network(64, 6)
def conv1d_transpose(x):
    x = layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    x = layers.Conv1DTranspose(4, 4, strides=2, padding="same", activation="relu")(x)
    return layers.Conv1D(2, 3, padding="same")(layers.ZeroPadding1D(1)(layers.Cropping1D(2)(x)))


@network(None, 6)
def tcn(x):
    for rate in (1, 2, 4):
        kept = layers.Conv1D(8, 1)(x)
        x = layers.Conv1D(8, 3, padding="causal", dilation_rate=rate, activation="relu")(x)
        x = layers.SpatialDropout1D(0.2)(x)
        x = layers.Conv1D(8, 3, padding="causal", dilation_rate=rate, activation="relu")(x)
        x = layers.Add()([x, kept])
    return layers.Dense(3)(x)


@network(64, 6)
def wavenet(x):
    skips = []
    x = layers.Conv1D(8, 2, padding="causal")(x)
    for rate in (1, 2, 4):
        options = {"padding": "causal", "dilation_rate": rate}
        left = layers.Conv1D(8, 2, activation="tanh", **options)(x)
        right = layers.Conv1D(8, 2, activation="sigmoid", **options)(x)
        skip = layers.Conv1D(8, 1)(layers.Multiply()([left, right]))
        skips.append(skip)
        x = layers.Add()([x, skip])
    x = layers.Activation("relu")(layers.Add()(skips))
    return layers.Conv1D(4, 1, activation="softmax")(x)


@network(32, 32, 3)
def convnext_blocks(image):
    x = layers.Conv2D(16, 4, strides=4)(image)
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    for _ in range(3):
        y = layers.DepthwiseConv2D(7, padding="same")(x)
        y = layers.LayerNormalization(epsilon=1e-6)(y)
        y = layers.Dense(32, activation="gelu")(y)
        x = layers.Add()([x, layers.Dense(16)(y)])
    x = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Conv2D(24, 2, strides=2)(x)
    return layers.Dense(5)(layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x)))


@network(8, 8, 3)
def one_pixel(image):
    x = layers.Conv2D(16, 8)(image)
    for _ in range(2):
        y = layers.LayerNormalization()(layers.DepthwiseConv2D(7, padding="same")(x))
        x = x + layers.Dense(16)(layers.Dense(24, activation="gelu")(y))
    return layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x))


@network(32, 32, 3)
def dense_between(image):
    x = conv(image, 8, activation="relu")
    x = layers.Dense(12, activation="tanh")(x)
    x = conv(x, 8)
    x = layers.LayerNormalization(axis=-1, scale=False)(x)
    x = conv(x, 8)
    x = layers.LayerNormalization(axis=[1, 2, 3])(x)
    return conv(x, 4)


@network(32, 32, 3)
def transposed(image):
    x = conv(image, 8, strides=2, activation="relu")
    x = layers.BatchNormalization()(x)
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2DTranspose(4, 4, strides=2, padding="valid")(x)
    return conv(x, 3, activation="tanh")


@network(32, 32, 3)
def separable(image):
    x = layers.SeparableConv2D(8, 3, padding="same", activation="relu")(image)
    x = layers.BatchNormalization()(x)
    x = layers.SeparableConv2D(8, 3, depth_multiplier=2, strides=2, padding="same")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu")(x)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x)
    return layers.GlobalAveragePooling2D()(x)


@network(32, 32, 8)
def grouped(image):
    x = conv(image, 16, groups=4, activation="relu")
    x = layers.BatchNormalization()(x)
    x = conv(x, 16, groups=2, strides=2)
    x = conv(x, 16, groups=16, dilation_rate=2)
    return conv(x, 4, dilation_rate=4)


@network(32, 6)
def grouped1d(x):
    x = layers.Conv1D(8, 3, groups=2, padding="same", activation="relu")(x)
    return layers.Conv1D(8, 3, groups=4, padding="causal")(x)


@network(32, 30, 3)
def borders(image):
    x = conv(image, 8)
    x = layers.ZeroPadding2D(((1, 2), (3, 0)))(x)
    x = layers.Conv2D(8, 3, strides=2)(x)
    x = layers.Cropping2D(((1, 2), (0, 1)))(x)
    x = conv(x, 8, strides=2)
    y = layers.Cropping2D(1)(layers.ZeroPadding2D(1)(x))
    return conv(layers.Add()([x, y]), 4)


@network(32, 32, 3)
def activations(image):
    x = conv(image, 8)
    for name in ("relu6", "softplus", "softsign", "leaky_relu", "hard_sigmoid", "exponential"):
        x = layers.BatchNormalization()(conv(layers.Activation(name)(x), 8))
    x = layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.2)(x)
    x = layers.PReLU()(conv(x, 8))
    x = conv(layers.PReLU(shared_axes=[1, 2])(x), 4)
    return conv(layers.Softmax(axis=-1)(x), 4)


@network(16, 16, 8, 2)
def volumes(x):
    x = layers.Conv3D(4, 3, padding="same", activation="relu")(x)
    first = x = layers.BatchNormalization()(x)
    x = layers.MaxPooling3D(2)(x)
    x = layers.Conv3D(8, 3, padding="same")(x)
    x = layers.AveragePooling3D(2)(layers.ReLU()(x))
    x = layers.Conv3DTranspose(4, 2, strides=2)(x)
    x = layers.UpSampling3D(2)(x)
    x = layers.Concatenate()([x, first])
    x = layers.Conv3D(2, 3, padding="same")(layers.ZeroPadding3D(1)(layers.Cropping3D(1)(x)))
    return layers.GlobalAveragePooling3D()(x)


@network(32, 32, 3)
def group_normalization(image):
    x = conv(image, 16)
    x = layers.GroupNormalization(4)(x)
    x = layers.Activation("silu")(x)
    x = conv(x, 16)
    x = layers.GroupNormalization(-1)(x)
    x = conv(layers.ReLU()(x), 8)
    return conv(x, 8)


@network(32, 32, 3)
def unit_normalization(image):
    x = conv(image, 8)
    x = layers.UnitNormalization()(x)
    return conv(x, 8)


@network(4, 16, 16, 3)
def frames(x):
    x = layers.TimeDistributed(layers.Conv2D(8, 3, padding="same", activation="relu"))(x)
    x = layers.TimeDistributed(layers.MaxPooling2D())(x)
    x = layers.TimeDistributed(layers.Conv2D(8, 3, padding="same"))(x)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    return layers.LSTM(4)(x)


@network(4, 12, 12, 2)
def conv_lstm(x):
    x = layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True)(x)
    x = layers.ConvLSTM2D(4, 3, padding="same")(x)
    return conv(x, 2)


@network(3, 32, 32)
def channels_first(image):
    options = {"data_format": "channels_first"}
    x = conv(image, 8, activation="relu", **options)
    x = layers.BatchNormalization(axis=1)(x)
    x = layers.MaxPooling2D(2, **options)(x)
    x = conv(x, 8, **options)
    x = layers.PReLU(shared_axes=[2, 3])(x)
    x = layers.UpSampling2D(2, **options)(x)
    x = layers.DepthwiseConv2D(3, padding="same", **options)(x)
    x = layers.Conv2DTranspose(4, 2, strides=2, **options)(x)
    return layers.GlobalAveragePooling2D(**options)(x)


@network(32, 32, 3)
def two_outputs(image):
    x = conv(image, 8, activation="relu")
    y = layers.UpSampling2D()(conv(layers.MaxPooling2D()(x), 8))
    mask = conv(y, 2, 1, activation="sigmoid")
    return [mask, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))]


@network(32, 32, 3)
def two_images(image):
    x = conv(image, 8, activation="relu")
    return [conv(x, 2), conv(layers.MaxPooling2D()(x), 3, activation="tanh")]


@network(32, 32, 3)
def recurrent_end(image):
    x = layers.MaxPooling2D((2, 1))(conv(image, 8, activation="relu"))
    x = layers.MaxPooling2D((2, 2))(conv(x, 8, activation="relu"))
    x = layers.Permute((2, 1, 3))(x)
    x = layers.Reshape((16, 64))(x)
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(x)
    return layers.Dense(11, activation="softmax")(x)


@network(64, 6)
def conv1d_recurrent(x):
    x = layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling1D(2)(x)
    x = layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    return layers.Dense(2)(layers.GRU(8)(x))


@network(16, 16, 3)
def shuffles(image):
    x = conv(image, 8)
    x = layers.Reshape((16, 16, 2, 4))(x)
    x = layers.Permute((1, 2, 4, 3))(x)
    x = layers.Reshape((16, 16, 8))(x)
    return conv(x, 4)


@network(16, 16, 3)
def subpixels(image):
    import tensorflow as tf

    x = conv(image, 16)
    x = layers.Lambda(lambda v: tf.nn.depth_to_space(v, 2))(x)
    x = conv(x, 4)
    x = layers.Lambda(lambda v: tf.nn.space_to_depth(v, 2))(x)
    return conv(x, 4)


@network(16, 16, 3)
def resized(image):
    x = conv(image, 8)
    x = layers.Resizing(24, 20)(x)
    x = conv(x, 8)
    x = layers.Resizing(12, 12, interpolation="nearest")(x)
    x = layers.Rescaling(0.5, 1.0)(conv(x, 4))
    return conv(x, 2)


@network(16, 16, 3)
def normalized(image):
    x = layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3])(image)
    x = conv(layers.Rescaling(2.0, -1.0)(x), 8)
    x = layers.CenterCrop(12, 12)(x)
    return conv(x, 2)


def _pair():
    a, b = layers.Input((16, 16, 3), name="a"), layers.Input((16, 16, 2), name="b")
    x = layers.Concatenate()([conv(a, 4, activation="relu"), conv(b, 4)])
    return keras.Model([a, b], conv(x, 3))


def _application(name):
    return lambda: getattr(keras.applications, name)(
        weights=None, input_shape=(64, 64, 3), classes=10
    )


NETWORKS["two_inputs"] = _pair
NETWORKS |= {name: _application(name) for name in APPLICATIONS}
