"""What a swap says about its output: signed by default, labelled on request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ffswap
from ffswap import CredentialOptions, EncodeOptions, LabelOptions, SwapOptions, SwapReport
from ffswap.errors import OutputExistsError, SigningError
from ffswap.provenance import signing
from tests.pipeline.face_clips import FaceClip, astronaut, upright

Clips = Callable[..., FaceClip]
FFV1 = EncodeOptions(encoder="ffv1")


@pytest.fixture
def swap(portrait: Path) -> Callable[..., SwapReport]:
    def run(target: Path, output: Path, **options: Any) -> SwapReport:
        return ffswap.swap(portrait, target, output, options=SwapOptions(**options))

    return run


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_clip_is_signed(swap, clips: Clips, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"out.{suffix}"
    report = swap(clips("plain.mkv").path, output)
    assert report.credentials is not None
    assert report.credentials.self_made
    assert "unverified signer" in report.credentials.who
    assert report.credentials.source_type == "composite"
    assert report.as_dict()["credentials"]["who"] == report.credentials.who
    found = ffswap.inspect(output)
    assert found.verdict == "synthetic"
    assert found.credentials is not None
    assert found.credentials.state == "valid"
    edited = found.credentials.actions[1]
    assert "mesh" in edited.models
    assert "face_landmark" in edited.models
    assert [one.relationship for one in found.credentials.parents] == ["parentOf"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "bmp"])
def test_a_picture_is_signed(swap, folder: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"out.{suffix}"
    report = swap(folder / "astronaut.png", output)
    assert report.credentials is not None
    assert ffswap.inspect(output).verdict == "synthetic"
    with Image.open(output) as image:
        image.load()


def test_a_swap_of_a_swap_keeps_the_first(swap, clips: Clips, tmp_path: Path) -> None:
    swap(clips("plain.mkv").path, tmp_path / "one.mp4")
    swap(tmp_path / "one.mp4", tmp_path / "two.mp4")
    found = ffswap.inspect(tmp_path / "two.mp4").credentials
    assert found is not None
    assert found.manifests == 2
    assert found.parents[0].signer == "ffswap local signer"


def test_a_file_in_which_nothing_was_swapped_is_not_called_synthetic(
    swap, folder: Path, tmp_path: Path
) -> None:
    report = swap(folder / "noface.jpg", tmp_path / "out.png")
    assert report.credentials is not None
    assert report.credentials.source_type is None
    assert ffswap.inspect(tmp_path / "out.png").verdict == "credentials"


def test_without_credentials_there_is_a_warning(swap, clips: Clips, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    report = swap(clips("plain.mkv").path, output, credentials=CredentialOptions(enabled=False))
    assert report.credentials is None
    assert any("no content credentials" in warning for warning in report.warnings)
    found = ffswap.inspect(output)
    assert (found.verdict, found.credentials) == (
        "synthetic",
        None,
    )  # the mark is there all the same


def test_who_signs_elsewhere_leaves_no_old_credentials(swap, clips: Clips, tmp_path: Path) -> None:
    output = tmp_path / "out.mkv"
    target = clips("plain.mkv").path
    swap(target, output)
    assert (tmp_path / "out.mkv.c2pa").exists()
    swap(target, output, overwrite=True, credentials=CredentialOptions(enabled=False))
    assert {path.name for path in tmp_path.iterdir()} == {"out.mkv"}


def test_a_sidecar_that_is_in_the_way_is_found_before_any_work(
    swap, clips: Clips, tmp_path: Path
) -> None:
    (tmp_path / "out.mkv.c2pa").write_bytes(b"old")
    with pytest.raises(OutputExistsError, match="holds credentials already") as caught:
        swap(clips("plain.mkv").path, tmp_path / "out.mkv")
    assert "--overwrite" in str(caught.value.hint)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "png"])
def test_an_output_that_cannot_be_signed_does_not_appear(
    swap, clips: Clips, folder: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise SigningError("the server is gone", hint="--no-credentials")

    monkeypatch.setattr(signing.CredentialSigner, "_sign", fail)
    target = folder / "astronaut.png" if suffix == "png" else clips("plain.mkv").path
    with pytest.raises(SigningError):
        swap(target, tmp_path / f"out.{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_certificate_is_found_before_any_work(swap, clips: Clips, tmp_path: Path) -> None:
    credentials = CredentialOptions(
        certificate=str(tmp_path / "no.pem"), key=str(tmp_path / "no.key")
    )
    with pytest.raises(ffswap.InputMissingError, match=r"no\.pem"):
        swap(clips("plain.mkv").path, tmp_path / "out.mp4", credentials=credentials)


def test_names_of_people_and_folders_stay_at_home(clips: Clips, folder: Path, tmp_path: Path) -> None:  # fmt: skip
    photo = tmp_path / "erika-mustermann.jpg"
    photo.write_bytes((folder / "hopper.jpg").read_bytes())
    target = tmp_path / "jane-does-birthday.mkv"
    target.write_bytes(clips("plain.mkv").path.read_bytes())
    ffswap.swap(photo, target, tmp_path / "secret-project.mkv")
    data = (tmp_path / "secret-project.mkv.c2pa").read_bytes()
    for word in ("erika", "mustermann", "jane", "birthday", "secret", tmp_path.name, "hopper"):
        assert word.encode() not in data


@pytest.mark.parametrize("rotation", [None, 90])
def test_a_label_is_drawn_and_nothing_else_changes(
    swap, clips: Clips, tmp_path: Path, rotation: int | None
) -> None:
    clip = clips(f"label{rotation}.mkv", frames=4, rotation=rotation)
    plain, with_label = tmp_path / "plain.mkv", tmp_path / "label.mkv"
    label = LabelOptions(text="AI-made", position="top", end=ffswap.Position(frame=2), size=8.0)
    swap(clip.path, plain, encode=FFV1)
    report = swap(clip.path, with_label, encode=FFV1, label=label)
    assert report.warnings == ()
    for i, (old, new) in enumerate(zip(upright(plain), upright(with_label), strict=True)):
        changed = (old != new).any(-1)
        assert changed.any() == (i < 2)
        assert not changed[old.shape[0] // 4 :].any()
    found = ffswap.inspect(with_label).credentials
    assert found is not None
    assert any("label" in str(action.description) for action in found.actions)


def test_a_label_is_drawn_into_a_picture(swap, folder: Path, tmp_path: Path) -> None:
    swap(folder / "astronaut.png", tmp_path / "plain.png")
    swap(folder / "astronaut.png", tmp_path / "label.png", label=LabelOptions(text="AI-made"))
    old, new = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("plain", "label"))
    changed = (old != new).any(-1)
    assert changed[200:, 150:].any()
    assert not changed[:200].any()
    assert (new[changed].max(), new[changed].min()) == (255, 0)
    assert old.shape == astronaut().rgb.shape
