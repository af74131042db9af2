"""Text as coverage: letters within their outline, and characters that a font lacks."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest

from ffswap.errors import InputMissingError, OptionError
from ffswap.media import Lettering

DEJAVU = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


def test_letters_lie_within_their_outline():
    cover, fill = Lettering("Hg").draw(40)
    assert cover.shape == fill.shape
    assert (cover.max(), fill.max()) == (1, 1)
    assert (fill <= cover).all()
    assert cover.sum() > 1.2 * fill.sum()
    rim = [cover[0], cover[-1], cover[:, 0], cover[:, -1]]
    assert all(side.any() for side in rim), "nothing around it is empty"
    assert not any(side.any() for side in (fill[0], fill[-1], fill[:, 0], fill[:, -1]))


@pytest.mark.parametrize("height", [7, 20, 111])
def test_a_capital_has_the_height_that_was_asked_for(height):
    _, fill = Lettering("H").draw(height)
    assert (fill.max(1) > 0.5).sum() == pytest.approx(height, abs=1)


def test_a_stretch_changes_the_width_only():
    plain, _ = Lettering("wide").draw(30)
    narrow, _ = Lettering("wide").draw(30, 0.5)
    assert narrow.shape[0] == plain.shape[0]
    assert narrow.shape[1] == pytest.approx(plain.shape[1] / 2, abs=1)


def test_a_character_that_the_font_lacks_is_an_error_that_names_it():
    with pytest.raises(OptionError, match="lacks: ü é") as caught:
        Lettering("Künstlich, déjà ü".replace("à", "a"))
    assert "--label-font" in str(caught.value.hint)


def test_a_font_of_the_users_has_other_characters():
    cover, _ = Lettering("Künstlich Привет", DEJAVU).draw(20)
    assert cover.shape[1] > 150
    with pytest.raises(OptionError, match=r"DejaVuSans\.ttf lacks: 中"):
        Lettering("中", DEJAVU)


def test_a_file_that_is_no_font_is_refused(tmp_path):
    (tmp_path / "no.ttf").write_text("hello")
    with pytest.raises(OptionError, match="no font that can be read"):
        Lettering("x", str(tmp_path / "no.ttf"))
    with pytest.raises(InputMissingError):
        Lettering("x", str(tmp_path / "none.ttf"))
