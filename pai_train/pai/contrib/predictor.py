"""`tf.contrib.predictor`: an exported model as a function from arrays to arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Predictor", "from_estimator", "from_saved_model"]


class Predictor:
    """Calls a graph's tensors with a dict of arrays; it owns a session.

    Attributes:
        graph: The graph.
        session: The session.
        feed_tensors: What is fed, by name.
        fetch_tensors: What is returned, by name.
    """

    def __init__(self, graph: Any, session: Any, feeds: Mapping[str, Any], fetches: Mapping[str, Any]) -> None:
        self.graph, self.session = graph, session
        self.feed_tensors, self.fetch_tensors = dict(feeds), dict(fetches)

    def __call__(self, input_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the outputs of one batch.

        Raises:
            ValueError: A name that is no input.
        """
        unknown = set(input_dict) - set(self.feed_tensors)
        if unknown:
            raise ValueError(
                f"predictor: no inputs {', '.join(sorted(unknown))}; the inputs are {', '.join(self.feed_tensors)}"
            )
        feed = {self.feed_tensors[name]: value for name, value in input_dict.items() if value is not None}
        result: dict[str, Any] = self.session.run(self.fetch_tensors, feed)
        return result


def from_saved_model(
    export_dir: Any,
    signature_def_key: str | None = None,
    signature_def: Any = None,
    input_names: Mapping[str, str] | None = None,
    output_names: Mapping[str, str] | None = None,
    tags: str | Iterable[str] | None = None,
    graph: Any = None,
    config: Any = None,
) -> Predictor:
    """Returns an exported model's signature as a function.

    Args:
        export_dir: The folder of the model.
        signature_def_key: The signature, `serving_default` if none.
        signature_def: A signature that is not in the model, in its place.
        input_names: Names of tensors by name of input, in the signature's place.
        output_names: Names of tensors by name of output, in the signature's place.
        tags: The graph's tags, `serve` if none.
        graph: Where the model is loaded.
        config: The session's settings.

    Raises:
        ValueError: The model has no such signature.
    """
    export_dir = export_dir.decode() if isinstance(export_dir, bytes) else str(export_dir)
    wanted = [tags] if isinstance(tags, str) else list(tags or [tf.saved_model.tag_constants.SERVING])
    graph = graph or tf.Graph()
    with graph.as_default():
        session = tf.Session(graph=graph, config=config)
        meta = tf.saved_model.loader.load(session, [one for tag in wanted for one in tag.split(",")], export_dir)
    if input_names is not None and output_names is not None:
        feeds, fetches = dict(input_names), dict(output_names)
    else:
        key = signature_def_key or tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        if signature_def is None and key not in meta.signature_def:
            session.close()
            raise ValueError(
                f"predictor: {export_dir} has no signature {key}; it has {', '.join(sorted(meta.signature_def))}"
            )
        signature = signature_def or meta.signature_def[key]
        feeds = {name: info.name for name, info in signature.inputs.items()}
        fetches = {name: info.name for name, info in signature.outputs.items()}
    return Predictor(
        graph,
        session,
        {name: graph.get_tensor_by_name(tensor) for name, tensor in feeds.items()},
        {name: graph.get_tensor_by_name(tensor) for name, tensor in fetches.items()},
    )


def from_estimator(
    estimator: Any,
    serving_input_receiver_fn: Callable[[], Any],
    output_key: str | None = None,
    graph: Any = None,
    config: Any = None,
) -> Predictor:
    """Returns the last checkpoint of an estimator as a function, fed as when it is served."""
    graph = graph or tf.Graph()
    with graph.as_default():
        receiver, spec = estimator._serving_graph(serving_input_receiver_fn)
        outputs = spec.export_outputs
        key = output_key or tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        if outputs is None:
            fetches = spec.predictions if isinstance(spec.predictions, dict) else {"output": spec.predictions}
        elif key in outputs or len(outputs) == 1:
            fetches = outputs.get(key, next(iter(outputs.values()))).tensors()
        else:
            raise ValueError(f"predictor: no output {key}; there are {', '.join(outputs)}")
        session = tf.Session(graph=graph, config=config)
        estimator._restored(session, spec.scaffold, estimator.latest_checkpoint())
    return Predictor(graph, session, receiver.receiver_tensors, fetches)


__getattr__ = absent("tf.contrib.predictor")
