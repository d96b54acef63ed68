import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps
from pycocotools import mask

from lng_kedro.geometry import PROCESSED, Frame, coco_to_corners, iou, stored_box, upright_box, upright_size

FRAMES = [Frame(), Frame(504, 504), Frame(1000, 1000), Frame(1, 1, decimals=2), Frame(504, 364)]
sides = st.floats(0, 512, allow_nan=False)


def boxes(low=0.0):
    return st.tuples(sides, sides, st.floats(low, 512), st.floats(low, 512)).map(_shifted_inside)


def _shifted_inside(numbers):
    x, y, w, h = numbers
    x, y = min(x, 512 - w), min(y, 512 - h)
    return (x, y, x + w, y + h)


@pytest.mark.parametrize(
    ("box", "width", "height", "size", "expected"),
    [
        # 192/1920*512, 108/1080*512, (192+384)/1920*512, (108+540)/1080*512
        ([192, 108, 384, 540], 1920, 1080, 512, (51.2, 51.2, 153.6, 307.2)),
        # 756/3024*512, 1008/4032*512, (756+1512)/3024*512, (1008+2016)/4032*512
        ([756, 1008, 1512, 2016], 3024, 4032, 512, (128, 128, 384, 384)),
        ([0, 0, 1920, 1080], 1920, 1080, 512, (0, 0, 512, 512)),
        ([1919, 1079, 1, 1], 1920, 1080, 512, (1919 / 1920 * 512, 1079 / 1080 * 512, 512, 512)),
        # 480/1920*128, 270/1080*128, (480+960)/1920*128, (270+540)/1080*128
        ([480, 270, 960, 540], 1920, 1080, 128, (32, 32, 96, 96)),
        ([10, 10, 0, 5], 100, 100, 512, (51.2, 51.2, 51.2, 76.8)),
    ],
)
def test_coco_to_corners(box, width, height, size, expected):
    assert coco_to_corners(box, width, height, size) == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 8), boxes())
def test_a_box_is_turned_back(orientation, corners):
    x, y, right, below = corners
    box = (x, y, right - x, below - y)
    turned = upright_box(box, 700, 512, orientation)
    assert stored_box(turned, 700, 512, orientation) == pytest.approx(box, abs=1e-9)


@pytest.mark.parametrize(
    ("orientation", "size", "expected"),
    [
        # The photo is 10 wide and 6 high; right of the box 10 - 1 - 3 = 6 are left, below it 6 - 2 - 1 = 3.
        (1, (10, 6), (1, 2, 3, 1)),
        (2, (10, 6), (6, 2, 3, 1)),
        (3, (10, 6), (6, 3, 3, 1)),
        (4, (10, 6), (1, 3, 3, 1)),
        (5, (6, 10), (2, 1, 1, 3)),
        (6, (6, 10), (3, 1, 1, 3)),
        (7, (6, 10), (3, 6, 1, 3)),
        (8, (6, 10), (2, 6, 1, 3)),
    ],
)
def test_a_box_is_turned_as_its_photo_is(orientation, size, expected):
    assert upright_size(10, 6, orientation) == size
    assert upright_box([1, 2, 3, 1], 10, 6, orientation) == expected
    assert stored_box(expected, 10, 6, orientation) == (1, 2, 3, 1)
    image = Image.new("L", (10, 6))
    image.paste(255, (1, 2, 1 + 3, 2 + 1))
    image.getexif()[ExifTags.Base.Orientation] = orientation
    turned = ImageOps.exif_transpose(image)
    x, y, w, h = expected
    assert (turned.size, turned.getbbox()) == (size, (x, y, x + w, y + h))


@pytest.mark.parametrize("orientation", range(1, 9))
@given(box=boxes())
def test_a_turned_box_stays_inside(orientation, box):
    x, y = box[:2]
    w, h = box[2] - x, box[3] - y
    width, height = x + w, y + h  # as far as the box reaches, in the numbers of a computer
    assert min(upright_box((x, y, w, h), width, height, orientation)) >= 0


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1),
        ((0, 0, 10, 10), (5, 5, 15, 15), 25 / 175),  # 5*5 / (100 + 100 - 25)
        ((0, 0, 10, 10), (0, 5, 10, 15), 50 / 150),  # 10*5 / (100 + 100 - 50)
        ((0, 0, 10, 10), (2, 2, 7, 7), 0.25),  # 25 / 100, contained
        ((0, 0, 10, 10), (0, 0, 10, 5), 0.5),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0),  # a common side
        ((0, 0, 10, 10), (10, 10, 20, 20), 0),  # a common corner
        ((0, 0, 10, 10), (10.5, 0, 20, 10), 0),
        ((0, 0, 10, 10), (0, 10.5, 10, 20), 0),
        ((0, 0, 10, 10), (30, 30, 40, 40), 0),
        ((0, 0, 10, 10), (5, 0, 5, 10), 0),
        ((5, 5, 5, 5), (5, 5, 5, 5), 0),
        ((10, 10, 0, 0), (0, 0, 10, 10), 0),
        ((0, 0, 1e308, 1e308), (0, 0, 10, 10), 0),  # its area is past the range of floats
        ((0, 0, 1e308, 1e308), (0, 0, 1e308, 1e308), 0),
    ],
)
def test_iou(a, b, expected):
    assert iou(a, b) == pytest.approx(expected, abs=1e-12)
    assert iou(b, a) == iou(a, b)


@given(boxes(low=1), boxes(low=1))
def test_iou_agrees_with_pycocotools(a, b):
    xywh = [np.array([[x0, y0, x1 - x0, y1 - y0]]) for x0, y0, x1, y1 in (a, b)]
    assert iou(a, b) == pytest.approx(mask.iou(xywh[0], xywh[1], [0])[0, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (PROCESSED, (100, 200, 300, 400)),
        # x 504/512: 98.4375, 196.875, 295.3125, 393.75
        (Frame(504, 504), (98, 197, 295, 394)),
        # x 1000/512: 195.3, 390.6, 585.9, 781.25
        (Frame(1000, 1000), (195, 391, 586, 781)),
        # / 512: 0.1953, 0.3906, 0.5859, 0.78125
        (Frame(1, 1, decimals=2), (0.2, 0.39, 0.59, 0.78)),
        # x 504/512 and x 364/512: 98.4375, 142.1875, 295.3125, 284.375
        (Frame(504, 364), (98, 142, 295, 284)),
    ],
)
def test_encode(frame, expected):
    assert frame.encode((100, 200, 300, 400)) == expected


def test_encode_and_decode_know_the_size_of_the_photo():
    frame = Frame(1000, 1000)
    assert frame.encode((64, 32, 128, 96), size=256) == (250, 125, 500, 375)
    assert frame.decode((250, 125, 500, 375), size=256) == (64, 32, 128, 96)
    assert Frame(504, 504).decode((0, 252, 504, 504)) == (0, 256, 512, 512)


@pytest.mark.parametrize("frame", FRAMES)
@given(box=boxes(low=512 / 100))
def test_round_trip_loses_half_a_unit(frame, box):
    half_x, half_y = (0.5 * 10**-frame.decimals * 512 / side for side in (frame.width, frame.height))
    decoded = frame.decode(frame.encode(box))
    for got, wanted, half in zip(decoded, box, (half_x, half_y) * 2, strict=True):
        assert abs(got - wanted) <= half + 1e-6


@pytest.mark.parametrize("frame", FRAMES)
@given(box=boxes())
def test_encoded_boxes_have_an_area_and_lie_inside(frame, box):
    x_min, y_min, x_max, y_max = frame.encode(box)
    assert 0 <= x_min < x_max <= frame.width
    assert 0 <= y_min < y_max <= frame.height


@pytest.mark.parametrize("frame", FRAMES)
@given(box=boxes())
def test_numbers_are_written_as_short_as_the_frame_says(frame, box):
    for number in frame.encode(box):
        if frame.decimals:
            assert len(str(float(number)).partition(".")[2]) <= frame.decimals
        else:
            assert type(number) is int


@pytest.mark.parametrize(
    ("frame", "box", "expected"),
    [
        (PROCESSED, (10.1, 10.1, 10.2, 10.2), (10, 10, 11, 11)),
        (PROCESSED, (512, 512, 512, 512), (511, 511, 512, 512)),
        (Frame(1, 1, decimals=2), (512, 0, 512, 1), (0.99, 0.0, 1.0, 0.01)),
    ],
)
def test_thin_boxes_keep_a_unit(frame, box, expected):
    assert frame.encode(box) == expected


@pytest.mark.parametrize(
    ("frame", "parts"),
    [
        (Frame(504, 364), ["504", "364"]),
        (Frame(1000, 1000), ["1000"]),
        (Frame(1, 1, decimals=2), ["fractions"]),
    ],
)
def test_unit_says_what_a_number_means(frame, parts):
    assert all(part in frame.unit for part in parts)
