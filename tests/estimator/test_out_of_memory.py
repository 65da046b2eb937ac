"""Out of memory in any form is a MemoryError that says what to change, alone and in a search."""

from __future__ import annotations

import functools
import gc
import weakref

import numpy as np
import pytest
import torch
from own_networks import OutOfMemory
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

from skinclf import LesionCNNClassifier
from skinclf.estimator._memory import explain_out_of_memory, is_out_of_memory

Quick = functools.partial(LesionCNNClassifier, max_epochs=1, batch_size=32, device="cpu", random_state=0)
here = functools.partial(explain_out_of_memory, "training", batch_size=8, image_shape=(16, 24, 3))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.05 GB)"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 68719476736 bytes."),
    ],
    ids=str,
)
def test_every_form_is_recognised(error):
    assert is_out_of_memory(error)


def test_what_torch_and_numpy_raise_here_is_recognised():
    for allocate in (torch.empty, np.empty):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            allocate(2**46)
        assert is_out_of_memory(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("no memory")])
def test_other_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught, here(device="cpu"):
        raise error
    assert caught.value is error


def test_the_message_on_a_gpu_and_on_a_processor():
    with pytest.raises(MemoryError) as caught, here(device="cuda:1"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nMore lines of advice")
    assert str(caught.value) == (
        "Out of memory while training on device 'cuda:1' with batch_size=8 and images of 16 x 24 x 3 (height, "
        "width, channels). Try a smaller batch_size; smaller images (image_size) or a smaller network "
        "(architecture_params); fewer processes at a time (n_jobs of a search or cross-validation), each of which "
        "needs as much of the GPU; or device='cpu'. The cause: OutOfMemoryError: CUDA out of memory. Tried to "
        "allocate 20.00 MiB."
    )
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)

    on_processor = pytest.raises(MemoryError, match=r"on device 'cpu' .*needs as much\. The cause: MemoryError: $")
    with on_processor, here(device="cpu"):
        raise MemoryError


def test_the_error_holds_none_of_the_memory():
    held = []

    def allocate():
        tensor = torch.zeros(1000)
        held.append(weakref.ref(tensor))
        raise MemoryError

    with pytest.raises(MemoryError) as caught, here(device="cpu"):
        allocate()

    gc.collect()
    assert caught.value.__cause__ is not None
    assert held[0]() is None


# --- in the classifier


@pytest.mark.fault(68, 69)
@pytest.mark.parametrize(
    ("kind", "cause"), [("cpu", "RuntimeError: .*can't allocate memory"), ("gpu", "OutOfMemoryError: CUDA")]
)
def test_in_training(lesions, kind, cause):
    classifier = Quick(OutOfMemory, architecture_params={"kind": kind})
    message = f"Out of memory while training on device 'cpu' with batch_size=32 and images of 16 x 16 x 3.*{cause}"

    with pytest.raises(MemoryError, match=message):
        classifier.fit(lesions.images, lesions.target)

    assert not hasattr(classifier, "net_")


@pytest.mark.fault(68)
def test_in_prediction(lesions):
    classifier = Quick(architecture_params={"width": 8, "depth": 1}).fit(lesions.images, lesions.target)
    classifier.net_.module_.network = OutOfMemory((16, 16, 3), 7, kind="gpu")

    with pytest.raises(MemoryError, match="Out of memory while predicting on device 'cpu' with batch_size=32"):
        classifier.predict(lesions.images)


@pytest.mark.fault(68)
def test_a_search_raises_it_or_has_it_in_its_warning(lesions):
    candidates = [
        {"architecture_params": [{"width": 8, "depth": 1}]},
        {"architecture": [OutOfMemory], "architecture_params": [{"kind": "gpu"}]},
    ]
    search = GridSearchCV(Quick(), candidates, cv=StratifiedGroupKFold(2), refit=False)
    fit = functools.partial(search.fit, lesions.images, lesions.target, groups=lesions.groups)
    message = "MemoryError: Out of memory while training on device 'cpu' with batch_size=32"

    with pytest.warns(FitFailedWarning, match=message), pytest.warns(UserWarning, match="non-finite"):
        fit()
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [False, True]

    search.set_params(error_score="raise")
    with pytest.raises(MemoryError, match="Out of memory while training"):
        fit()
