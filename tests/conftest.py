"""What every test stands on."""

from collections.abc import Iterator

import pytest
import torch

from toprung.ray_session import ray_session


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Tiny networks are slower on several threads, and their numbers differ with the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The one Ray that all tests share that need one, with a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPRUNG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        with ray_session() as session:
            session.wait()
            yield
