"""What the server of warm jobs imports once; nothing here runs an operation, so that each job chooses its devices."""

import keras  # noqa: F401
import tensorflow  # noqa: F401

import pai_train.resolver
import pai_train.serving.predict
import pai_train.tables.iceberg
import pai_train.train
import pai_train.training.fit
import pai_train.training.learner  # noqa: F401
