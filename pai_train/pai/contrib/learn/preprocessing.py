"""`tf.contrib.learn.preprocessing`: words of texts as numbers."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["CategoricalVocabulary", "VocabularyProcessor", "tokenizer"]

_WORD = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z][a-z]+(?=[A-Z])|[\'\w\-]+", re.UNICODE)


def tokenizer(iterator: Iterable[str]) -> Iterator[list[str]]:
    """Yields the words of each text."""
    for text in iterator:
        yield _WORD.findall(text)


class CategoricalVocabulary:
    """Words by number; number 0 is the word that is not known.

    Args:
        unknown_token: What word 0 is called.
        support_reverse: Whether words are found by their numbers.
    """

    def __init__(self, unknown_token: str = "<UNK>", support_reverse: bool = True) -> None:  # noqa: S107
        self._unknown = unknown_token
        self._mapping: dict[str, int] = {unknown_token: 0}
        self._words: list[str] | None = [unknown_token] if support_reverse else None
        self._freq: Counter[str] = Counter()
        self._frozen = False

    def __len__(self) -> int:
        return len(self._mapping)

    def freeze(self, freeze: bool = True) -> None:
        """Says whether new words are the unknown one from now on."""
        self._frozen = freeze

    def get(self, category: str) -> int:
        """Returns a word's number; a new word gets the next one, or 0 where the vocabulary is frozen."""
        if category not in self._mapping:
            if self._frozen:
                return 0
            self._mapping[category] = len(self._mapping)
            if self._words is not None:
                self._words.append(category)
        return self._mapping[category]

    def add(self, category: str, count: int = 1) -> None:
        """Counts a word. A new one gets a number, unless the vocabulary is frozen."""
        if self.get(category) > 0:
            self._freq[category] += count

    def trim(self, min_frequency: int, max_frequency: int = -1) -> None:
        """Drops words by how often they were counted, and numbers those that stay, frequent ones first."""
        kept = [
            (word, count)
            for word, count in sorted(sorted(self._freq.items()), key=lambda one: one[1], reverse=True)
            if count > min_frequency and (max_frequency <= 0 or count < max_frequency)
        ]
        self._mapping = {self._unknown: 0} | {word: number for number, (word, _) in enumerate(kept, 1)}
        self._freq = Counter(dict(kept))
        if self._words is not None:
            self._words = list(self._mapping)

    def reverse(self, class_id: int) -> str:
        """Returns a number's word.

        Raises:
            ValueError: The vocabulary was made without `support_reverse`.
        """
        if self._words is None:
            raise ValueError("this vocabulary was made with support_reverse=False")
        return self._words[class_id]


class VocabularyProcessor:
    """Texts as rows of numbers of words.

    Args:
        max_document_length: How many words a row has: more are cut off, places that are left over are 0.
        min_frequency: Words that were seen so often or less are not known.
        vocabulary: Words that have numbers already.
        tokenizer_fn: A function of texts that yields the words of each.
    """

    def __init__(
        self,
        max_document_length: int,
        min_frequency: int = 0,
        vocabulary: CategoricalVocabulary | None = None,
        tokenizer_fn: Callable[[Iterable[str]], Iterable[list[str]]] | None = None,
    ) -> None:
        self.max_document_length, self.min_frequency = max_document_length, min_frequency
        self.vocabulary_ = vocabulary or CategoricalVocabulary()
        self._tokenizer = tokenizer_fn or tokenizer

    def fit(self, raw_documents: Iterable[str], unused_y: Any = None) -> VocabularyProcessor:
        """Gives words their numbers, in the order in which they come."""
        for words in self._tokenizer(raw_documents):
            for word in words:
                self.vocabulary_.add(word)
        if self.min_frequency > 0:
            self.vocabulary_.trim(self.min_frequency)
        self.vocabulary_.freeze()
        return self

    def fit_transform(self, raw_documents: Iterable[str], unused_y: Any = None) -> Iterator[Any]:
        """Gives words their numbers, and yields each text's row: int64 [max_document_length]."""
        texts = list(raw_documents)
        self.fit(texts)
        return self.transform(texts)

    def transform(self, raw_documents: Iterable[str]) -> Iterator[Any]:
        """Yields each text's row: int64 [max_document_length]."""
        for words in self._tokenizer(raw_documents):
            row = np.zeros(self.max_document_length, np.int64)
            numbers = [self.vocabulary_.get(word) for word in words[: self.max_document_length]]
            row[: len(numbers)] = numbers
            yield row

    def reverse(self, documents: Iterable[Any]) -> Iterator[str]:
        """Yields each row's text, with a blank between words."""
        for row in documents:
            yield " ".join(self.vocabulary_.reverse(int(number)) for number in row)

    def save(self, filename: str) -> None:
        """Writes it to a file, on any store."""
        with tf.gfile.Open(filename, "wb") as file:
            file.write(pickle.dumps(self))

    @classmethod
    def restore(cls, filename: str) -> VocabularyProcessor:
        """Reads what `save` wrote. It is a pickle: read only files that you wrote."""
        with tf.gfile.Open(filename, "rb") as file:
            found: VocabularyProcessor = pickle.loads(file.read())  # noqa: S301
        return found


__getattr__ = absent("tf.contrib.learn.preprocessing")
