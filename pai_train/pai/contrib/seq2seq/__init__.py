"""`tf.contrib.seq2seq`: decoders that are taught, feed themselves or search, attention, the loss of sequences."""

from __future__ import annotations

from pai_train.pai.contrib.seq2seq.attention import (
    AttentionWrapper,
    AttentionWrapperState,
    BahdanauAttention,
    LuongAttention,
    tile_batch,
)
from pai_train.pai.contrib.seq2seq.beam_search import (
    BeamSearchDecoder,
    BeamSearchDecoderOutput,
    BeamSearchDecoderState,
    FinalBeamSearchDecoderOutput,
    gather_tree,
)
from pai_train.pai.contrib.seq2seq.decoder import BasicDecoder, BasicDecoderOutput, Decoder, dynamic_decode
from pai_train.pai.contrib.seq2seq.helpers import (
    CustomHelper,
    GreedyEmbeddingHelper,
    Helper,
    SampleEmbeddingHelper,
    TrainingHelper,
)
from pai_train.pai.contrib.seq2seq.loss import sequence_loss
from pai_train.pai.gone import absent

__all__ = [
    "AttentionWrapper", "AttentionWrapperState", "BahdanauAttention", "BasicDecoder", "BasicDecoderOutput",
    "BeamSearchDecoder", "BeamSearchDecoderOutput", "BeamSearchDecoderState", "CustomHelper", "Decoder",
    "FinalBeamSearchDecoderOutput", "GreedyEmbeddingHelper", "Helper", "LuongAttention", "SampleEmbeddingHelper",
    "TrainingHelper", "dynamic_decode", "gather_tree", "sequence_loss", "tile_batch",
]  # fmt: skip

__getattr__ = absent("tf.contrib.seq2seq")
