"""What every process that runs tests does."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from jaxtyping import TypeCheckError

from benchmark.voxels import to_images


def test_shapes_are_checked():
    with pytest.raises(TypeCheckError):
        to_images(torch.zeros(3, dtype=torch.int16), (0.0, 1.0))


@pytest.mark.parametrize(
    "name",
    ["<function f at 0x7f00>", ascii("\x1f\x8b")[1:-1], str(b"\x1f\x8b").replace("\\", "\\\\")],
    ids=["an address", "bytes", "bytes within"],
)
def test_a_name_that_another_process_would_not_give_is_refused(request, name):
    plugin = request.config.pluginmanager.get_plugin(str(Path(__file__).with_name("conftest.py")))
    good, bad = (
        SimpleNamespace(nodeid=f"a.py::test[{one}]", get_closest_marker=lambda _: None) for one in ("ok", name)
    )
    plugin.pytest_collection_modifyitems([good])
    with pytest.raises(pytest.UsageError, match=r"^a\.py::test\[.*\] has an address or bytes in its name \(1 test"):
        plugin.pytest_collection_modifyitems([good, bad])
