"""What the server of warm scripts imports once; no operation is run, so that each script begins anew."""

from pai_train.pai import tf1

tf1.load()

import tf_keras.api._v1.keras  # noqa: E402, F401
from tensorflow.python.training import monitored_session  # noqa: E402, F401

import pai_train.pai.names  # noqa: E402
import pai_train.pai.remote_checkpoints  # noqa: E402
import pai_train.pai.remote_files  # noqa: E402
import pai_train.pai.remote_names  # noqa: E402
import pai_train.tables.iceberg  # noqa: E402, F401
