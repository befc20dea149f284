"""Networks made of stock Keras layers, and their weights.

- `mobilenet`, `mobilenet_v2`, `xception`, `inception_v3`: one paper each, as a table of rows and a loop over it.
- `alpha`: where the width multiplier becomes filter counts.
- `blocks`: what the networks share: input, segmented convolution, classification head.
- `inception_modules`: the modules of Inception V3, and the path from there to separable convolutions.
- `registry`: the networks by name, and a network from its settings.
- `initialization`: initial weights from (seed, layer name).
- `weights`: loads weight files into a network; `weight_files` reads them, `matching` compares them with a network,
  `locating` finds its backbone among other layers, `heads` decides about the classifier, `hashes` verifies the
  published ones.
- `recognition`: which network a weight file belongs to; `architecture` reads what the file says about its layers.
- `loading`: opens `.keras` files and finds them in run folders; `archives` checks what they hold, `old_formats`
  brings the descriptions of Keras 1 and 2 to Keras 3's form, `graph_names` those names that TensorFlow refuses.
- `stages`: the parts of a network (stem, block1, ...) that cost is summed over and that can be frozen.
- `keras_internals`: every private name of Keras that the package uses.

All tensors are channels_last. Nothing here imports TensorFlow directly.
"""
