import pytest
import torch

from benchmark import torchbuild


def test_the_version_is_torchs_own_word_for_it():
    assert torchbuild.version() == torch.__version__


def test_where_torch_has_a_card_it_is_asked():
    assert torchbuild.may_have_cards() or not (torch.cuda.is_available() or torch.backends.mps.is_available())


@pytest.mark.parametrize(
    ("said", "platform", "driver", "may"),
    [
        ({"cuda": None, "hip": None}, "linux", True, False),
        ({"cuda": "13.2", "hip": None}, "linux", False, False),
        ({"cuda": "13.2"}, "linux", True, True),
        ({"cuda": None, "hip": "7.0"}, "linux", False, True),
        ({"cuda": None, "hip": None}, "darwin", False, True),
    ],
    ids=["build for processors", "no driver", "driver", "AMD", "Mac"],
)
def test_torch_is_asked_for_cards_only_where_its_build_and_a_driver_may_have_some(
    monkeypatch, said, platform, driver, may
):
    monkeypatch.setattr(torchbuild, "_said", lambda: said)
    monkeypatch.setattr(torchbuild, "_loads", lambda library: driver)
    monkeypatch.setattr(torchbuild.sys, "platform", platform)
    assert torchbuild.may_have_cards() is may
