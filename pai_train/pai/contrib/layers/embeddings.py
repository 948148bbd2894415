"""Embeddings of ids: `embed_sequence` and the sparse look-up that survives empty rows."""

from __future__ import annotations

from typing import Any

from pai_train.pai.contrib.layers.variables import model_variable
from pai_train.pai.v1 import tf


def embed_sequence(
    ids: Any,
    vocab_size: int | None = None,
    embed_dim: int | None = None,
    unique: bool = False,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    scope: Any = None,
    reuse: Any = None,
) -> Any:
    """Returns ids [batch, length] as float32 [batch, length, embed_dim], from the variable `embeddings`.

    Raises:
        ValueError: No size, neither given nor in a variable that is reused.
    """
    if not (reuse or (vocab_size and embed_dim)):
        raise ValueError("embed_sequence: wanted vocab_size and embed_dim")
    with tf.variable_scope(scope, "EmbedSequence", [ids], reuse=reuse):
        shape = [vocab_size, embed_dim] if vocab_size and embed_dim else None
        kind = initializer.dtype.base_dtype if tf.is_tensor(initializer) else "float32"
        shape = None if tf.is_tensor(initializer) else shape
        table = model_variable("embeddings", shape, kind, initializer, regularizer, trainable)
        return embedding_lookup_unique(table, ids) if unique else tf.nn.embedding_lookup(table, ids)


def embedding_lookup_unique(params: Any, ids: Any, partition_strategy: str = "mod", name: str | None = None) -> Any:
    """Returns the rows of ids of any shape, each different id being looked up once."""
    with tf.name_scope(name, "EmbeddingLookupUnique", [params, ids]):
        ids = tf.convert_to_tensor(ids)
        different, position = tf.unique(tf.reshape(ids, [-1]))
        rows = tf.nn.embedding_lookup(params, different, partition_strategy)
        result = tf.gather(rows, position)
        shape = tf.concat([tf.shape(ids), tf.shape(rows)[1:]], 0)
        result = tf.reshape(result, shape)
        result.set_shape(ids.shape.concatenate(rows.shape[1:]))
        return result


def safe_embedding_lookup_sparse(
    embedding_weights: Any,
    sparse_ids: Any,
    sparse_weights: Any = None,
    combiner: str | None = None,
    default_id: int | None = None,
    name: str | None = None,
    partition_strategy: str = "div",
    max_norm: float | None = None,
) -> Any:
    """Returns `tf.nn.safe_embedding_lookup_sparse`, whose combiner is the mean unless told."""
    return tf.nn.safe_embedding_lookup_sparse(
        embedding_weights,
        sparse_ids,
        sparse_weights,
        combiner or "mean",
        default_id,
        name,
        partition_strategy,
        max_norm,
    )
