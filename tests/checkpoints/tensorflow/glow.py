"""A small Glow as a TensorFlow 1 graph with the node names of OpenAI's published one: run this file to write it.

    python tests/checkpoints/tensorflow/glow.py FOLDER [affine]

It needs tensorflow. FOLDER gets `graph.pb` (frozen, names kept), `folded.pb` (every constant subgraph replaced by one
constant called `…__cf__N`, as freezing tools do), a checkpoint `model.ckpt`, `variables.npz`, and `io.npz` with what
the graph computes. The mathematics is that of the README of OpenAI's fixture.
"""

import sys
from pathlib import Path

import numpy as np

SIZE, LEVELS, STEPS, WIDTH, BITS = 8, 2, 2, 4, 5


def build(tf, affine, learn_top, classes):
    """The encoder under `model/`, the decoder under `model_1/`, and the inputs; random variables."""
    rng = np.random.default_rng(0)
    bins = 2.0**BITS

    def variable(name, shape, std=0.1):
        # Few distinct numbers: the files that are kept beside the tests compress to a tenth.
        value = (np.round(256 * std * rng.standard_normal(shape)) / 256).astype(np.float32)
        return tf.compat.v1.get_variable(name, initializer=value)

    def padded(x, height):
        rim = np.ones((1, height + 2, height + 2, 1), np.float32)
        rim[:, 1:-1, 1:-1] = 0
        x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        return tf.concat([x, tf.tile(rim, [tf.shape(x)[0], 1, 1, 1])], 3)

    def conv(x, channels, out, height, kernel, padding="VALID"):
        x = padded(x, height) if kernel == 3 else x
        weight = variable("W", [kernel, kernel, channels + (kernel == 3), out], 0.3 / np.sqrt(channels * kernel**2))
        return tf.nn.conv2d(x, weight, [1, 1, 1, 1], padding)

    def actnorm(x, channels, reverse=False):
        scope = tf.compat.v1.variable_scope
        with scope("actnorm_center"):
            b = variable("b", [1, 1, 1, channels])
        with scope("actnorm_scale"):
            logs = variable("logs", [1, 1, 1, channels], 0.05) * 3.0
        return x * tf.exp(-logs) - b if reverse else (x + b) * tf.exp(logs)

    def zero_conv(x, channels, out, height):
        x = conv(x, channels, out, height, 3) + variable("b", [1, 1, 1, out])
        return x * tf.exp(variable("logs", [1, out], 0.05) * 3.0)

    def net(x, channels, out, height):
        scope = tf.compat.v1.variable_scope
        with scope("f1"):
            with scope("l_1"):
                x = tf.nn.relu(actnorm(conv(x, channels, WIDTH, height, 3), WIDTH))
            with scope("l_2"):
                x = tf.nn.relu(actnorm(conv(x, WIDTH, WIDTH, height, 1), WIDTH))
            with scope("l_last"):
                return zero_conv(x, WIDTH, out, height)

    def step(x, channels, height, reverse):
        half = channels // 2

        def rotate(x):
            with tf.compat.v1.variable_scope("invconv"):
                q = np.linalg.qr(rng.standard_normal((channels, channels)))[0].astype(np.float32)
                w = tf.compat.v1.get_variable("W", initializer=q)
                w = tf.linalg.inv(w) if reverse else w
                return tf.nn.conv2d(x, tf.reshape(w, [1, 1, channels, channels]), [1, 1, 1, 1], "SAME")

        def couple(x):
            a, b = x[:, :, :, :half], x[:, :, :, half:]
            h = net(a, half, channels if affine else half, height)
            if not affine:
                return tf.concat([a, b - h if reverse else b + h], 3)
            shift, scale = h[:, :, :, 0::2], tf.nn.sigmoid(h[:, :, :, 1::2] + 2.0)
            return tf.concat([a, b / scale - shift if reverse else (b + shift) * scale], 3)

        if not reverse:
            return couple(rotate(actnorm(x, channels)))
        return actnorm(rotate(couple(x)), channels, reverse=True)

    def squeeze(x, height, channels):
        x = tf.reshape(x, [-1, height // 2, 2, height // 2, 2, channels])
        return tf.reshape(tf.transpose(x, [0, 1, 3, 5, 2, 4]), [-1, height // 2, height // 2, 4 * channels])

    def unsqueeze(x, height, channels):
        x = tf.reshape(x, [-1, height, height, channels // 4, 2, 2])
        return tf.reshape(tf.transpose(x, [0, 1, 4, 2, 5, 3]), [-1, 2 * height, 2 * height, channels // 4])

    def prior(x, channels, height):
        with tf.compat.v1.variable_scope("conv"):
            h = zero_conv(x, channels, 2 * channels, height)
        return h[:, :, :, 0::2], h[:, :, :, 1::2]

    def top_prior(label, channels, height):
        h = tf.zeros([tf.shape(label)[0], height, height, 2 * channels])
        with tf.compat.v1.variable_scope("prior"):
            if learn_top:
                with tf.compat.v1.variable_scope("p"):
                    h = zero_conv(h, 2 * channels, 2 * channels, height)
            if classes:
                with tf.compat.v1.variable_scope("y_emb"):
                    y = tf.matmul(tf.one_hot(label, classes), variable("W", [classes, 2 * channels]))
                    y = (y + variable("b", [1, 2 * channels])) * tf.exp(variable("logs", [1, 2 * channels], 0.05) * 3.0)
                h = h + tf.reshape(y, [-1, 1, 1, 2 * channels])
        return h[:, :, :, :channels], h[:, :, :, channels:]

    shapes = [(12 * 2**i, SIZE >> (i + 1)) for i in range(LEVELS)]
    with tf.name_scope("input"):
        image = tf.compat.v1.placeholder(tf.uint8, [None, SIZE, SIZE, 3], name="image")
        label = tf.compat.v1.placeholder(tf.int32, [None], name="label")
        small = tf.compat.v1.placeholder(tf.uint8, [None, SIZE // 2, SIZE // 2, 3], name="downsampled_image")
    scope = tf.compat.v1.variable_scope
    with scope("model"), tf.name_scope(""), tf.name_scope("model/"):
        x = tf.floor(tf.cast(image, tf.float32) / 2.0 ** (8 - BITS)) / bins - 0.5
        x = x + tf.compat.v1.random_uniform(tf.shape(x), 0, 1.0 / bins)
        x = squeeze(x, SIZE, 3)
        for i, (channels, height) in enumerate(shapes):
            with scope(str(i)):
                for k in range(STEPS):
                    with scope(str(k)):
                        x = step(x, channels, height, reverse=False)
            if i < LEVELS - 1:
                with scope(f"pool{i}"):
                    first, second = x[:, :, :, : channels // 2], x[:, :, :, channels // 2 :]
                    mean, logs = prior(first, channels // 2, height)
                    tf.realdiv(second - mean, tf.exp(logs), name="truediv_1")
                    x = squeeze(first, height, channels // 2)
        mean, logs = top_prior(label, *shapes[-1])
        tf.realdiv(x - mean, tf.exp(logs), name="truediv_4")
    sizes = [(h, h, c // 2) for c, h in shapes[:-1]] + [(shapes[-1][1], shapes[-1][1], shapes[-1][0])]
    eps = [tf.compat.v1.placeholder(tf.float32, [None, *size], name="Placeholder") for size in sizes]
    with scope("model", reuse=True), tf.name_scope(""), tf.name_scope("model_1/"):
        mean, logs = top_prior(label, *shapes[-1])
        x = mean + tf.exp(logs) * eps[-1]
        for i, (channels, height) in reversed(list(enumerate(shapes))):
            if i < LEVELS - 1:
                with scope(f"pool{i}"):
                    first = unsqueeze(x, height // 2, 2 * channels)
                    mean, logs = prior(first, channels // 2, height)
                    x = tf.concat([first, mean + tf.exp(logs) * eps[i]], 3)
            with scope(str(i)):
                for k in reversed(range(STEPS)):
                    with scope(str(k)):
                        x = step(x, channels, height, reverse=True)
        x = unsqueeze(x, SIZE // 2, 12) + 0.0 * tf.cast(small[:, :1, :1, :1], tf.float32)
        x = tf.reshape(x, [-1, SIZE, SIZE, 3], name="Reshape_4")
        tf.cast(tf.clip_by_value(tf.floor((x + 0.5) * bins) * (256.0 / bins), 0.0, 255.0), tf.uint8, name="Cast_1")


def fold(tf, definition):
    """Replace each largest constant subgraph by one constant, under a name that says nothing."""
    nodes = {n.name: n for n in definition.node}
    constant = {}

    def is_constant(name):
        if name not in constant:
            node = nodes[name]
            inputs = [i.split(":")[0].lstrip("^") for i in node.input]
            random = node.op.startswith(("Random", "Placeholder"))
            constant[name] = node.op == "Const" or (bool(inputs) and not random and all(map(is_constant, inputs)))
        return constant[name]

    wanted = {
        i.split(":")[0]
        for n in definition.node
        if not is_constant(n.name)
        for i in n.input
        if is_constant(i.split(":")[0].lstrip("^"))
    }
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    with tf.compat.v1.Session(graph=graph) as session:
        values = {name: session.run(name + ":0") for name in wanted}
    names = {name: f"{name}__cf__{i}" for i, name in enumerate(sorted(wanted))}
    folded = tf.compat.v1.GraphDef()
    for name, value in values.items():
        node = folded.node.add(name=names[name], op="Const")
        node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    for node in definition.node:
        if not is_constant(node.name):
            copy = folded.node.add()
            copy.CopyFrom(node)
            copy.input[:] = [names.get(i, i) for i in node.input]
    return folded


def write(folder, affine=False, learn_top=True, classes=0):
    """Write the graphs, the checkpoint and what they compute into a folder."""
    import tensorflow as tf

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        build(tf, affine, learn_top, classes)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(folder / "model.ckpt"), write_meta_graph=False)
        variables = {v.op.name: session.run(v) for v in tf.compat.v1.global_variables()}
        np.savez(folder / "variables.npz", **{name.replace("/", "|"): value for name, value in variables.items()})
        outputs = [f"model/pool{i}/truediv_1" for i in range(LEVELS - 1)] + ["model/truediv_4", "model_1/Cast_1"]
        frozen = tf.compat.v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), outputs)
    (folder / "graph.pb").write_bytes(frozen.SerializeToString())
    (folder / "folded.pb").write_bytes(fold(tf, frozen).SerializeToString())
    with (folder / "io.npz").open("wb") as file:
        np.savez(file, **evaluate(tf, frozen))


def evaluate(tf, definition):
    """Images, the noise that the graph drew, its latents, and the image that it decodes from them."""
    rng = np.random.default_rng(1)
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(definition, name="")
    u = rng.integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    label, small = np.zeros(3, np.int32), np.full((3, SIZE // 2, SIZE // 2, 3), 128, np.uint8)
    random = next(op for op in graph.get_operations() if op.type == "RandomUniform")
    with tf.compat.v1.Session(graph=graph) as session:
        eps_names = [f"model/pool{i}/truediv_1:0" for i in range(LEVELS - 1)] + ["model/truediv_4:0"]
        feed = {"input/image:0": u, "input/label:0": label}
        noise, *eps = session.run([random.outputs[0], *eps_names], feed)
        feed = {"input/label:0": label, "input/downsampled_image:0": small}
        feed |= {f"Placeholder{f'_{i}' if i else ''}:0": e for i, e in enumerate(eps)}
        decoded = session.run("model_1/Reshape_4:0", feed)
    return {"u": u, "noise": noise, "decoded": decoded} | {f"eps_{i}": e for i, e in enumerate(eps)}


if __name__ == "__main__":
    write(sys.argv[1], affine="affine" in sys.argv)
