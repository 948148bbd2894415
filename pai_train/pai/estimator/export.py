"""What a served model is fed: the receivers of `tf.estimator.export`; and the folder an export becomes."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from typing import TYPE_CHECKING, Any

from pai_train.pai.estimator.spec import ClassificationOutput, ExportOutput, PredictOutput, RegressionOutput
from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ClassificationOutput", "ExportOutput", "PredictOutput", "RegressionOutput", "ServingInputReceiver",
    "TensorServingInputReceiver", "build_parsing_serving_input_receiver_fn", "build_raw_serving_input_receiver_fn",
]  # fmt: skip


class ServingInputReceiver:
    """The features of a served model and the placeholders that are fed.

    Args:
        features: A tensor or a dict of tensors, for the model function.
        receiver_tensors: A tensor or a dict of tensors, fed by the caller.
        receiver_tensors_alternatives: Further ways of feeding, by signature.
    """

    def __init__(
        self,
        features: Any,
        receiver_tensors: Any,
        receiver_tensors_alternatives: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        if features is None or receiver_tensors is None:
            raise ValueError("ServingInputReceiver: wanted features and receiver_tensors")
        self.features = dict(features) if isinstance(features, dict) else self._single(features)
        self.receiver_tensors = (
            dict(receiver_tensors) if isinstance(receiver_tensors, dict) else {"input": receiver_tensors}
        )
        self.receiver_tensors_alternatives = {
            name: dict(one) if isinstance(one, dict) else {"receiver_input": one}
            for name, one in (receiver_tensors_alternatives or {}).items()
        }

    def _single(self, features: Any) -> Any:
        return {"feature": features}


class TensorServingInputReceiver(ServingInputReceiver):
    """A receiver whose model function takes one tensor instead of a dict."""

    def _single(self, features: Any) -> Any:
        return features


def build_raw_serving_input_receiver_fn(
    features: Mapping[str, Any], default_batch_size: int | None = None
) -> Callable[[], ServingInputReceiver]:
    """Returns a function that makes a placeholder of each feature's type and shape, the batch free unless told."""

    def receiver_fn() -> ServingInputReceiver:
        entries = {}
        for name, feature in features.items():
            shape = feature.shape.as_list()
            shape[0] = default_batch_size
            entries[name] = tf.placeholder(feature.dtype, shape, name.replace(":", "_"))
        return ServingInputReceiver(entries, entries)

    return receiver_fn


def build_parsing_serving_input_receiver_fn(
    feature_spec: Mapping[str, Any], default_batch_size: int | None = None
) -> Callable[[], ServingInputReceiver]:
    """Returns a function that makes one placeholder `examples` of serialized `tf.Example`, and parses it."""

    def receiver_fn() -> ServingInputReceiver:
        examples = tf.placeholder(tf.string, [default_batch_size], "input_example_tensor")
        return ServingInputReceiver(tf.parse_example(examples, dict(feature_spec)), {"examples": examples})

    return receiver_fn


def signatures(receiver: ServingInputReceiver, export_outputs: Mapping[str, Any] | None, predictions: Any) -> Any:
    """Returns the signatures of a served model, by name.

    Raises:
        ValueError: None of the outputs can be served from these inputs.
    """
    default = tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
    outputs = dict(export_outputs or {default: PredictOutput(predictions)})
    if len(outputs) == 1 and default not in outputs:
        outputs[default] = next(iter(outputs.values()))
    made: dict[str, Any] = {}
    for key, output in outputs.items():
        made[key] = output.signature(receiver.receiver_tensors)
        for alternative, inputs in receiver.receiver_tensors_alternatives.items():
            made[alternative if key == default else f"{alternative}:{key}"] = output.signature(inputs)
    kept = {key: signature for key, signature in made.items() if signature is not None}
    left_out = sorted(set(made) - set(kept))
    if left_out:
        tf.logging.info("Not exported, since they are served tf.Example alone: %s", ", ".join(left_out))
    if not kept:
        raise ValueError("export: none of the outputs can be served from these inputs; they take serialized tf.Example")
    return kept


def write_model(
    session: Any,
    base: str,
    signature_def_map: Mapping[str, Any],
    local_init_op: Any,
    assets_extra: Mapping[str, str] | None,
    as_text: bool,
    strip_default_attrs: bool,
) -> str:
    """Writes a graph and its variables as a model, whole or not at all.

    Args:
        session: Holds the values.
        base: The folder of exports; the model gets a folder of its own there, called after the second.
        signature_def_map: The signatures.
        local_init_op: Runs when the model is loaded.
        assets_extra: Files to put under `assets.extra`, by their place there.
        as_text: Whether the graph is text.
        strip_default_attrs: Whether default attributes are left out.

    Returns:
        The model's folder.
    """
    # TensorFlow writes to the machine; the files go to their store through tf.gfile, under another name until all are
    # there.
    staged = tempfile.mkdtemp(prefix="export-")
    try:
        local = os.path.join(staged, "model")
        builder = tf.saved_model.builder.SavedModelBuilder(local)
        builder.add_meta_graph_and_variables(
            session,
            [tf.saved_model.tag_constants.SERVING],
            signature_def_map=dict(signature_def_map),
            assets_collection=tf.get_collection(tf.GraphKeys.ASSET_FILEPATHS),
            main_op=local_init_op,
            strip_default_attrs=strip_default_attrs,
        )
        builder.save(as_text)
        stamp = _free_stamp(base)
        hidden = os.path.join(base, f"temp-{stamp}")
        _copy(local, hidden)
        for place, source in (assets_extra or {}).items():
            target = os.path.join(hidden, "assets.extra", place)
            tf.gfile.MakeDirs(os.path.dirname(target))
            tf.gfile.Copy(source, target)
        final = os.path.join(base, stamp)
        tf.gfile.Rename(hidden, final)
        return final
    finally:
        shutil.rmtree(staged)


def _free_stamp(base: str) -> str:
    stamp = int(time.time())
    while tf.gfile.Exists(os.path.join(base, str(stamp))) or tf.gfile.Exists(os.path.join(base, f"temp-{stamp}")):
        stamp += 1
    return str(stamp)


def _copy(local: str, target: str) -> None:
    for folder, _, files in os.walk(local):
        there = (
            target if os.path.relpath(folder, local) == "." else os.path.join(target, os.path.relpath(folder, local))
        )
        tf.gfile.MakeDirs(there)
        for name in files:
            tf.gfile.Copy(os.path.join(folder, name), os.path.join(there, name))


__getattr__ = absent("tf.estimator.export")
