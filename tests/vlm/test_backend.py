import pytest

from lng_kedro.vlm.backend import choose_backend


@pytest.fixture
def choose(vlm_params, monkeypatch):
    def choose(backend, device="cuda", gpu=True, package=True):
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
        monkeypatch.setattr("lng_kedro.vlm.backend.find_spec", lambda name: package or None)
        return choose_backend(vlm_params.spec.model_copy(update={"backend": backend, "device": device}))

    return choose


@pytest.mark.parametrize(
    ("options", "backend", "reason"),
    [
        ({"backend": "auto"}, "unsloth", "there are a GPU and the package"),
        ({"backend": "auto", "package": False}, "transformers", "is not installed: pip install"),
        ({"backend": "auto", "device": "cpu", "gpu": False}, "transformers", "no vision models on a CPU"),
        ({"backend": "transformers"}, "transformers", "asked for by name"),
        ({"backend": "unsloth"}, "unsloth", "asked for by name"),
    ],
)
def test_which_backend_and_why(choose, options, backend, reason):
    taken, why = choose(**options)
    assert taken == backend
    assert reason in why


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"backend": "unsloth", "package": False},
            "'unsloth' is asked for, which is not installed: pip install",
        ),
        ({"backend": "auto", "gpu": False}, "needs a CUDA GPU"),
        ({"backend": "transformers", "gpu": False}, "needs a CUDA GPU"),
    ],
)
def test_what_is_asked_for_and_not_there_is_an_error(choose, options, message):
    with pytest.raises(ValueError, match=message):
        choose(**options)
