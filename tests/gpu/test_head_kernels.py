"""Detector heads as kernels, run on the CPU: the same faces as the reference, in the same order."""

from __future__ import annotations

import numpy as np
import pytest

from ffswap.errors import InternalError, ModelError
from ffswap.geometry.boxes import Detections, non_maximum_suppression
from ffswap.ops.cuda.detect import HeadDecoder, detections_of, overflowing
from tests.geometry.head_tensors import face_at
from tests.gpu.head_batches import FAMILIES, SIZE, batch, compare, crowd, decode, reference
from tests.gpu.host_programs import STREAM, HostArray, HostPrograms

IOU = 0.4


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return HostPrograms(tmp_path_factory.mktemp("kernels"))


def run(decoder, tensors, n):
    arrays = [HostArray(t) for t in tensors]
    return decode(decoder, arrays, n, HostArray.full, lambda a: a.array, STREAM)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_picture_of_a_batch_has_the_reference_s_faces(programs, family, dtype):
    pictures = [crowd(1, 60), [], crowd(2, 150), [face_at(40, 30, 60, 70, 0.8)]]
    tensors = [t.astype(dtype) for t in batch(family, pictures)]
    decoder = HeadDecoder(programs, family, SIZE, 0.5, IOU)
    counts, found = run(decoder, tensors, len(pictures))
    assert counts[1] == 0
    assert counts[3] == 1
    assert counts[2] > 10
    for i, got in enumerate(found):
        want = reference(family, [t[i] for t in tensors], 0.5, IOU)
        compare(got, want, exact=family != "yunet")


@pytest.mark.parametrize("family", FAMILIES)
def test_random_tensors_are_decoded_alike(programs, family):
    """Every candidate is above the threshold or near it; boxes may be inside out."""
    rng = np.random.default_rng(3)
    tensors = [rng.normal(0.5, 0.4, t.shape).astype(np.float32) for t in batch(family, [[], []])]
    if family == "yolo_face":
        tensors[0][:, :4] *= 100
    decoder = HeadDecoder(programs, family, SIZE, 0.6, IOU, faces=2000)
    counts, found = run(decoder, tensors, 2)
    assert (counts > 100).all()
    for i, got in enumerate(found):
        want = reference(family, [t[i] for t in tensors], 0.6, IOU)
        compare(got, want, exact=family != "yunet")


@pytest.mark.parametrize("family", FAMILIES)
def test_no_batch_axis_is_needed_for_one_picture(programs, family):
    tensors = [t[0] for t in batch(family, [crowd(4, 30)])]
    decoder = HeadDecoder(programs, family, SIZE, 0.5, IOU)
    (got,) = run(decoder, tensors, 1)[1]
    compare(got, reference(family, tensors, 0.5, IOU), exact=family != "yunet")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e6])
@pytest.mark.parametrize("family", FAMILIES)
def test_candidates_with_unsound_numbers_are_no_faces(programs, family, bad):
    faces = [face_at(40, 30, 60, 70, 0.8), face_at(180, 90, 60, 70, 0.9)]
    tensors = batch(family, [faces])
    if family == "yolo_face":
        tensors[0][0, 12, tensors[0][0, 4].argmax()] = bad
    else:
        strong = np.nonzero(tensors[-3][0].any(1))[0][-1]
        tensors[-3][0, strong, 3] = bad
    (got,) = run(HeadDecoder(programs, family, SIZE, 0.5, IOU), tensors, 1)[1]
    want = reference(family, [t[0] for t in tensors], 0.5, IOU)
    assert len(want) == 1
    compare(got, want, exact=family != "yunet")


@pytest.mark.parametrize("which", [0, 3, 6, 8])
def test_each_tensor_has_a_type_of_its_own(programs, which):
    tensors = batch("scrfd", [crowd(18, 60)])
    tensors[which] = tensors[which].astype(np.float16)
    (got,) = run(HeadDecoder(programs, "scrfd", SIZE, 0.5, IOU), tensors, 1)[1]
    compare(got, reference("scrfd", [t[0] for t in tensors], 0.5, IOU), exact=True)


def test_a_box_that_would_grow_without_bounds_is_as_large_as_the_reference_s(programs):
    tensors = batch("yunet", [[face_at(40, 30, 60, 70, 0.8)]])
    tensors[6][0, tensors[0][0, :, 0].argmax(), 2:] = 50, 200
    (got,) = run(HeadDecoder(programs, "yunet", SIZE, 0.5, IOU), tensors, 1)[1]
    compare(got, reference("yunet", [t[0] for t in tensors], 0.5, IOU), exact=False)
    assert np.ptp(got.box) > 1e5


@pytest.mark.parametrize("side", [0.0, 1e-6, 1e-2])
def test_boxes_of_next_to_no_size_overlap_as_in_the_reference(programs, side):
    tensors = batch("yolo_face", [[face_at(0, 0, side, side, score) for score in (0.9, 0.8)]])
    (got,) = run(HeadDecoder(programs, "yolo_face", SIZE, 0.5, IOU), tensors, 1)[1]
    want = reference("yolo_face", [tensors[0][0]], 0.5, IOU)
    assert len(want) == (1 if side == 1e-2 else 2)
    compare(got, want, exact=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_score_at_the_threshold_is_treated_alike(programs, family):
    tensors = batch(family, [[face_at(40, 30, 60, 70, 0.5)]])
    for k in (0, 3) if family == "yunet" else ():
        tensors[k][tensors[k] > 0] = [0.5, 1.0][k == 3]
    kept = len(reference(family, [t[0] for t in tensors], 0.5, IOU))
    assert kept == (family != "yolo_face")
    counts, _ = run(HeadDecoder(programs, family, SIZE, 0.5, IOU), tensors, 1)
    assert counts.tolist() == [kept]


@pytest.mark.parametrize("backwards", [False, True])
def test_of_equal_scores_the_first_candidate_wins(programs, backwards):
    """In whichever order the candidates have been collected."""
    n = 600
    rng = np.random.default_rng(5)
    table = rng.uniform(0, 200, (n, 15)).astype(np.float32)
    table[:, 2:4] = table[:, :2] + 40
    table[:, 14] = rng.choice([0.5, 0.75], n)
    order = np.arange(n)[::-1] if backwards else rng.permutation(n)
    bits = table[:, 14].view(np.uint32).astype(np.uint64) | np.uint64(1 << 31)
    keys = bits << np.uint64(32) | (np.uint64(0xFFFFFFFF) - np.arange(n, dtype=np.uint64))
    counts, rows = np.zeros(1, np.int32), np.zeros((1, n, 15), np.float32)
    programs.kernel("detect", "suppress").program.launch(
        "suppress", (1,), (256,), np.array([n], np.int32), keys[order], table[order], np.int32(n),
        np.float32(IOU), np.int32(n), counts, rows,
    )  # fmt: skip
    (got,) = detections_of(counts, rows)
    found = Detections(table[:, :4], table[:, 4:14].reshape(-1, 5, 2), table[:, 14])
    compare(got, non_maximum_suppression(found, IOU), exact=True)


@pytest.mark.parametrize("iou", [0.0, 0.4, 1.0])
def test_how_much_may_overlap_is_the_reference_s(programs, iou):
    tensors = batch("scrfd", [crowd(6, 80)])
    (got,) = run(HeadDecoder(programs, "scrfd", SIZE, 0.2, iou), tensors, 1)[1]
    compare(got, reference("scrfd", [t[0] for t in tensors], 0.2, iou), exact=True)


def test_more_faces_than_rows_are_reported_and_the_best_are_kept(programs):
    tensors = batch("scrfd", [crowd(7, 150), [], crowd(8, 150)])
    decoder = HeadDecoder(programs, "scrfd", SIZE, 0.3, IOU, faces=8)
    counts, found = run(decoder, tensors, 3)
    assert counts.tolist() == [9, 0, 9]
    assert overflowing(counts, 8) == [0, 2]
    want = reference("scrfd", [t[2] for t in tensors], 0.3, IOU)
    assert len(want) > 8
    compare(found[2], want.rows(np.arange(8)), exact=True)


def test_as_many_faces_as_rows_are_no_overflow(programs):
    tensors = batch("yolo_face", [crowd(9, 20)])
    want = reference("yolo_face", [tensors[0][0]], 0.5, IOU)
    decoder = HeadDecoder(programs, "yolo_face", SIZE, 0.5, IOU, faces=len(want))
    counts, (got,) = run(decoder, tensors, 1)
    assert overflowing(counts, decoder.faces) == []
    compare(got, want, exact=True)


def test_the_scratch_memory_of_an_earlier_batch_does_not_matter(programs):
    decoder = HeadDecoder(programs, "scrfd", SIZE, 0.5, IOU)
    scratch = HostArray.full((decoder.scratch_bytes(2),), np.uint8)
    for seeds in ((10, 11), (12, 13)):
        tensors = batch("scrfd", [crowd(seed, 40) for seed in seeds])
        arrays = [HostArray(t) for t in tensors]
        counts = HostArray.full((2,), np.int32)
        rows = HostArray.full((2, decoder.faces, 15), np.float32)
        decoder(arrays, 2, counts, rows, scratch, STREAM)
        want = [reference("scrfd", [t[i] for t in tensors], 0.5, IOU) for i in range(2)]
        assert counts.array.tolist() == [len(w) for w in want]


def test_a_larger_buffer_may_hold_fewer_pictures(programs):
    tensors = batch("yunet", [crowd(14, 20), crowd(15, 20), crowd(16, 20)])
    counts, found = run(HeadDecoder(programs, "yunet", SIZE, 0.5, IOU), tensors, 2)
    assert len(counts) == len(found) == 2
    compare(found[1], reference("yunet", [t[1] for t in tensors], 0.5, IOU), exact=False)


@pytest.mark.parametrize("family", FAMILIES)
def test_tensors_of_another_model_are_refused(programs, family):
    decoder = HeadDecoder(programs, family, SIZE, 0.5, IOU)
    tensors = batch(family, [[], []])
    with pytest.raises(ModelError, match="tensors; allowed"):
        run(decoder, [*tensors, tensors[0]], 2)
    with pytest.raises(ModelError, match="for 3 pictures; allowed"):
        run(decoder, tensors, 3)
    with pytest.raises(ModelError, match="int32"):
        run(decoder, [tensors[0].astype(np.int32), *tensors[1:]], 2)
    with pytest.raises(ModelError, match="allowed"):
        run(decoder, [*tensors[:-1], np.ascontiguousarray(tensors[-1][:, :-1])], 2)


def test_yolo_may_have_another_number_of_candidates(programs):
    tensors = [np.ascontiguousarray(t[..., :700]) for t in batch("yolo_face", [crowd(17, 40)])]
    decoder = HeadDecoder(programs, "yolo_face", SIZE, 0.5, IOU, candidates=700)
    (got,) = run(decoder, tensors, 1)[1]
    compare(got, reference("yolo_face", [tensors[0][0]], 0.5, IOU), exact=True)


def test_too_little_room_and_other_families_are_our_fault(programs):
    decoder = HeadDecoder(programs, "scrfd", SIZE, 0.5, IOU)
    tensors = [HostArray(t) for t in batch("scrfd", [[]])]
    room = HostArray.full((1,), np.int32), HostArray.full((1, decoder.faces, 15), np.float32)
    scratch = HostArray.full((decoder.scratch_bytes(1) - 1,), np.uint8)
    with pytest.raises(InternalError, match="no room"):
        decoder(tensors, 1, *room, scratch, STREAM)
    with pytest.raises(InternalError, match="blazeface"):
        HeadDecoder(programs, "blazeface", SIZE, 0.5, IOU)
