"""What costs a second to make is made once per process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ffswap.geometry.face_mesh import FaceMesh
from ffswap.stages.detect import Detector
from ffswap.stages.mesh_swap import MeshSource
from ffswap.stages.track import MeshNet
from tests.stages.face_scenes import face_mesh, open_nets, portrait, source_from


@pytest.fixture(scope="session")
def nets() -> Iterator[tuple[Detector, MeshNet]]:
    """The embedded detector and mesh net."""
    with open_nets() as both:
        yield both


@pytest.fixture(scope="session")
def mesh() -> FaceMesh:
    """The canonical mesh."""
    return face_mesh()


@pytest.fixture(scope="session")
def hopper(nets: tuple[Detector, MeshNet], mesh: FaceMesh) -> MeshSource:
    """A source that is not the astronaut."""
    return source_from(nets, mesh, portrait("hopper"))


@pytest.fixture(scope="session")
def astronaut(nets: tuple[Detector, MeshNet], mesh: FaceMesh) -> MeshSource:
    """A source that is the astronaut."""
    return source_from(nets, mesh, portrait("astronaut"))
