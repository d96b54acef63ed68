import pytest
import torch
from PIL import Image

from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.photo_cache import CachedImageProcessor


@pytest.fixture(scope="module")
def plain(vlm_params):
    return load_vlm(vlm_params).processor.image_processor


def opened(photos, *numbers):
    return [[Image.open(photos.path(f"p{i}"))] for i in numbers]


def decoded(batch):
    return [photo for sample in batch for photo in sample if photo.fp is None]


def test_features_are_the_processors_own(plain, photos, tmp_path):
    cached = CachedImageProcessor(plain, tmp_path / "cache", torch.float32)
    wanted = plain(opened(photos, 0, 1, 0), return_tensors="pt")
    for _ in range(2):  # made, then read
        features = cached(opened(photos, 0, 1, 0), return_tensors="pt")
        assert features.keys() == wanted.keys()
        assert all(torch.equal(features[name], wanted[name]) for name in wanted)
    assert cached.merge_size == plain.merge_size


def test_it_is_stored_as_the_processor_that_it_stands_before(vlm_params, tmp_path):
    processor = load_vlm(vlm_params).processor
    wanted = processor.to_json_string()
    processor.image_processor = CachedImageProcessor(
        processor.image_processor, tmp_path / "cache", torch.float32
    )
    assert processor.to_json_string() == wanted


def test_a_photo_is_decoded_once(plain, photos, tmp_path):
    first, second, third = opened(photos, 0, 1, 0), opened(photos, 1, 0), opened(photos, 2)
    cached = CachedImageProcessor(plain, tmp_path / "cache", torch.float32)
    cached(first)
    assert len(decoded(first)) == 2, "the third is the first again"
    again = CachedImageProcessor(plain, tmp_path / "cache", torch.float32)
    again(second)
    again(third)
    assert (len(decoded(second)), len(decoded(third))) == (0, 1)


def test_another_photo_under_the_same_name_is_another_photo(plain, photos, tmp_path):
    cached = CachedImageProcessor(plain, tmp_path / "cache", torch.float32)
    path = tmp_path / "p.jpg"
    features = []
    for i in (0, 1):
        path.write_bytes(photos.path(f"p{i}").read_bytes())
        features.append(cached([[Image.open(path)]])["pixel_values"])
    assert not torch.equal(*features)


def test_a_broken_photo_is_named_and_not_kept(plain, photos, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos.path("p0").read_bytes()[:2000])
    cached = CachedImageProcessor(plain, tmp_path / "cache", torch.float32)
    with pytest.raises(OSError, match=r"broken\.jpg is no whole photo .* run data_processing again"):
        cached([[Image.open(broken)]])
    assert not list((tmp_path / "cache").iterdir())


def test_pixels_are_kept_as_the_model_takes_them(plain, photos, tmp_path):
    cached = CachedImageProcessor(plain, tmp_path / "cache", torch.bfloat16)
    wanted = plain(opened(photos, 0), return_tensors="pt")
    found = cached(opened(photos, 0))
    assert found["pixel_values"].dtype == torch.bfloat16
    assert torch.equal(found["pixel_values"], wanted["pixel_values"].to(torch.bfloat16))
    assert torch.equal(found["image_grid_thw"], wanted["image_grid_thw"])
