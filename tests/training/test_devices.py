"""What `gpus` means, and what happens when TensorFlow already runs."""

import concurrent.futures
import multiprocessing

import pytest

from pai_train.errors import DeviceError
from pai_train.training.devices import count_gpus_wanted, gpu_fault, gpu_ids_wanted


@pytest.mark.parametrize(
    ("gpus", "present", "ids"),
    [
        (0, 4, ()),
        ("0", 4, ()),
        (2, 4, (0, 1)),
        ("2", 0, (0, 1)),
        ("auto", 3, (0, 1, 2)),
        ("auto", 0, ()),
        ("0,2", 4, (0, 2)),
        ("3,", 4, (3,)),
    ],
)
def test_gpus_that_are_wanted(gpus, present, ids):
    assert gpu_ids_wanted(gpus, present) == ids
    assert count_gpus_wanted(gpus, present) == len(ids)


@pytest.mark.parametrize("gpus", [-1, "two", "0,0", "", ",", "0,,1", True, 1.5, "0,-1"])
def test_gpus_that_cannot_be_read(gpus):
    with pytest.raises(DeviceError, match="gpus"):
        gpu_ids_wanted(gpus, 4)
    assert gpu_fault(gpus, "logical_cpu", 4) is not None


def test_missing_gpus_are_a_fault_only_where_they_must_not_be():
    assert gpu_fault(2, "logical_cpu", 0) is None
    assert gpu_fault(2, "fail", 2) is None
    assert gpu_fault("auto", "fail", 0) is None
    fault = gpu_fault(2, "fail", 1)
    assert fault is not None
    assert "1 GPU is present" in str(fault)
    assert gpu_fault("0,2", "fail", 2) is not None


def test_one_process_from_its_first_to_its_last_layout():
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(_layouts_of_one_process).result(timeout=120)


def _layouts_of_one_process():
    import random

    from pai_train.training.devices import prepare, strategy

    with pytest.raises(DeviceError, match="fewer GPUs"):
        prepare(2, "fail", deterministic=False, seed=1)
    two = prepare(2, "logical_cpu", deterministic=True, seed=1)
    assert (two.names, two.kind, two.replicas) == (("/cpu:0", "/cpu:1"), "logical_cpu", 2)
    assert "GPUs asked for: 2, present: 0" in two.notice
    first = random.random()

    import tensorflow as tf

    mirrored = strategy(two)
    assert mirrored.num_replicas_in_sync == 2
    assert len(tf.config.list_logical_devices("CPU")) == 2

    again = prepare(2, "logical_cpu", deterministic=True, seed=1)
    assert again == two
    assert random.random() == first
    one = prepare("1", "logical_cpu", deterministic=False, seed=2)
    assert one.names == ("/cpu:0",)
    cpu = prepare(0, "fail", deterministic=False, seed=2)
    assert (cpu.kind, cpu.notice) == ("cpu", None)
    assert strategy(cpu).num_replicas_in_sync == 1
    assert "no GPU" in prepare("auto", "fail", deterministic=False, seed=2).notice
    with pytest.raises(DeviceError, match="restart the kernel"):
        prepare(4, "logical_cpu", deterministic=False, seed=2)
