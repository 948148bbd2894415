"""The devices that replicas run on: counted by us, chosen before TensorFlow's first operation."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from pai_train.errors import DeviceError, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OnMissingGpu = Literal["fail", "logical_cpu"]
WANTED = "0 for the CPU, a number of GPUs, auto for all, or ids such as '0,1'"


@dataclass(frozen=True)
class Devices:
    """One device per replica.

    Attributes:
        names: TensorFlow's names, such as '/gpu:0'.
        kind: What they are; 'logical_cpu' are parts of one CPU that stand for missing GPUs.
        notice: What a person must know about the choice, to be logged loudly.
        cluster: The strategy that spans all workers; None for a training in one process.
    """

    names: tuple[str, ...]
    kind: Literal["gpu", "cpu", "logical_cpu"]
    notice: str | None = None
    cluster: Any = field(default=None, repr=False, compare=False)

    @property
    def replicas(self) -> int:
        """Number of copies of the model."""
        return len(self.names)


def gpu_ids_wanted(gpus: int | str, present: int) -> tuple[int, ...]:
    """Returns the GPUs that `gpus` asks for, by their number in TensorFlow's listing; () is the CPU.

    Args:
        gpus: 0, a count, 'auto', or ids separated by commas; one id alone is written '1,'.
        present: How many GPUs there are; what 'auto' asks for.

    Raises:
        DeviceError: It is none of these.
    """
    text = str(gpus).strip()
    if text == "auto":
        return tuple(range(present))
    parts = [part.strip() for part in text.removesuffix(",").split(",")]
    if isinstance(gpus, bool) or not all(part.isascii() and part.isdigit() for part in parts):
        raise DeviceError("gpus cannot be read", where="gpus", got=repr(gpus), wanted=WANTED)
    ids = tuple(int(part) for part in parts)
    if "," not in text:
        return tuple(range(ids[0]))
    if len(set(ids)) != len(ids):
        raise DeviceError("gpus names a GPU twice", where="gpus", got=repr(gpus), wanted=WANTED)
    return ids


def count_gpus_wanted(gpus: int | str, present: int) -> int:
    """Returns how many GPUs `gpus` asks for.

    Raises:
        DeviceError: `gpus` is not of a known form.
    """
    return len(gpu_ids_wanted(gpus, present))


def count_gpus_present() -> int:
    """Returns how many GPUs TensorFlow sees; imports TensorFlow and starts no device."""
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def gpu_fault(gpus: int | str, on_missing_gpu: str, present: int) -> Fault | None:
    """Returns what is wrong with a request for GPUs, or None; to be asked before anything is written.

    Args:
        gpus: As in `gpu_ids_wanted`.
        on_missing_gpu: 'fail' or 'logical_cpu'.
        present: What `count_gpus_present` gave.
    """
    try:
        missing = [number for number in gpu_ids_wanted(gpus, present) if number >= present]
    except DeviceError as error:
        return error.fault
    if not missing or on_missing_gpu == "logical_cpu":
        return None
    return Fault(
        "there are fewer GPUs than asked for",
        where="gpus",
        got=repr(gpus),
        wanted=_present(present),
        todo="set gpus=0, or on_missing_gpu=logical_cpu to run the replicas on logical CPU devices",
    )


def prepare(
    gpus: int | str,
    on_missing_gpu: str,
    *,
    deterministic: bool,
    seed: int,
    join: Callable[[Devices], Any] | None = None,
) -> Devices:
    """Chooses and configures the devices of this process; to be called before TensorFlow's first operation.

    Sets the seeds of Python, NumPy and TensorFlow. Determinism holds for the rest of the process.

    Args:
        gpus: 0, a count, 'auto', or ids separated by commas.
        on_missing_gpu: 'fail', or 'logical_cpu' to run as many replicas on parts of the CPU.
        deterministic: Let TensorFlow choose only operations that give the same bits each time.
        seed: 0 to 2**32 - 1.
        join: Meets the other workers and returns the strategy that spans all; None for a training in one process.

    Raises:
        DeviceError: GPUs are missing and must not be; or TensorFlow already runs in this process with other devices.
    """
    import keras
    import tensorflow as tf

    present = tf.config.list_physical_devices("GPU")
    fault = gpu_fault(gpus, on_missing_gpu, len(present))
    if fault is not None:
        raise DeviceError(fault.what, where=fault.where, got=fault.got, wanted=fault.wanted, todo=fault.todo)
    ids = gpu_ids_wanted(gpus, len(present))
    if not ids:
        devices = _on_cpu(tf, gpus)
    elif max(ids) < len(present):
        devices = _on_gpus(tf, [present[number] for number in ids], present)
    else:
        devices = _on_logical_cpus(tf, len(ids), len(present))
    if join is not None:
        # One replica per worker on the CPU: the strategy takes no parts of it.
        devices = devices if devices.kind == "gpu" else Devices(devices.names[:1], "cpu", devices.notice)
        devices = replace(devices, cluster=join(devices))
    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    return devices


def strategy(devices: Devices) -> Any:
    """Returns the tf.distribute.Strategy of these devices: over all workers, mirrored for several, or on one device."""
    import tensorflow as tf

    if devices.cluster is not None:
        return devices.cluster
    if devices.replicas == 1:
        return tf.distribute.OneDeviceStrategy(devices.names[0])
    # The collectives it takes by default let a CPU device be in groups of one size only per process: the second run
    # of a notebook would fail when it asks for another number of replicas.
    reduction = None if devices.kind == "gpu" else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy(list(devices.names), cross_device_ops=reduction)


def _on_cpu(tf: Any, gpus: int | str) -> Devices:
    _hide_gpus(tf)
    notice = "gpus=auto found no GPU: training runs on the CPU" if gpus == "auto" else None
    return Devices(("/cpu:0",), "cpu", notice)


def _on_gpus(tf: Any, chosen: Sequence[Any], present: Sequence[Any]) -> Devices:
    try:
        tf.config.set_visible_devices(chosen, "GPU")
        for gpu in chosen:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        # The process already runs TensorFlow: its GPUs serve when they are exactly those asked for.
        if set(tf.config.get_visible_devices("GPU")) != set(chosen):
            raise _started(f"other GPUs than the {len(chosen)} of {len(present)} asked for") from error
    return Devices(tuple(f"/gpu:{index}" for index in range(len(chosen))), "gpu")


def _hide_gpus(tf: Any) -> None:
    # Else TensorFlow takes their memory. In a process that already runs it they stay taken, and unused.
    with suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")


def _on_logical_cpus(tf: Any, count: int, present: int) -> Devices:
    _hide_gpus(tf)
    try:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        running = len(tf.config.list_logical_devices("CPU"))
        if running < count:
            raise _started(f"{running} CPU device{'s' if running > 1 else ''}, of which {count} are needed") from error
    notice = (
        f"GPUs asked for: {count}, present: {present}. Replicas run on logical CPU devices instead: {count}."
        " The result is the same, the speed is that of the CPU. Set on_missing_gpu=fail to refuse."
    )
    return Devices(tuple(f"/cpu:{index}" for index in range(count)), "logical_cpu", notice)


def _started(got: str) -> DeviceError:
    return DeviceError(
        "TensorFlow already runs in this process with other devices",
        where="gpus",
        got=got,
        todo="restart the kernel, or start this run in a process of its own",
    )


def _present(count: int) -> str:
    return {0: "no GPU is present", 1: "1 GPU is present"}.get(count, f"{count} GPUs are present")
